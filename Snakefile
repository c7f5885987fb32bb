# rhoflow: from DFT charge densities to a table of results.
#   snakemake --profile profiles/default                                     the default study (config.yaml)
#   snakemake --profile profiles/default --configfile studies/dft-full.yaml  another study
# Preview what a change costs:  snakemake plan --profile profiles/default, then without `plan` and with -n
from pathlib import Path

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config.yaml"


report: "report/workflow.rst"


# Built with envs/rhoflow.def. Snakemake looks at its name even where it is not used, and refuses a folder with a space.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:

    container: f"{workflow.basedir}/envs/rhoflow.sif"


include: "rules/common.smk"
include: "rules/acquire.smk"
include: "rules/dataset.smk"
include: "rules/structure.smk"
include: "rules/search.smk"
include: "rules/train.smk"
include: "rules/report.smk"


onstart:
    look_for_orphans()


# Small steps that need no job of their own on a cluster.
localrules:
    all,
    plan,
    splits,
    leakage,
    views,
    provenance,


rule all:
    default_target: True
    input:
        rules.report.output,
        # Named here too, so that what was deleted is noticed and remade.
        rules.tables.output,
        rules.figures.output,
        rules.saliency.output if has_saliency(STUDY) else [],
        rules.provenance.output,
        expand(
            "{store}{suffix}",
            store=[*shard_stores(), *image_stores(), *embedding_stores()],
            suffix=SIDECARS,
        ),
        expand(
            f"{ROOT}/dos/{{shard}}.h5{{suffix}}",
            shard=SHARDS if STUDY.dos else [],
            suffix=SIDECARS,
        ),
        expand(
            f"{ROOT}/slices/{{shard}}.png.zip",
            shard=SHARDS if STUDY.slices.png else [],
        ),
        kind_files(NETWORKS, NETWORK_FILES),
        kind_files(BASELINES, RUN_FILES),
        kind_files(ASKED_KINDS, RUN_FILES),
        expand(f"{ROOT}/tables/{{name}}", name=SEARCH_TABLE if SEARCHED else []),
        [
            f"{ROOT}/{estimate_file(target, level)}"
            for _, level in IN_CONTEXT
            for target in STUDY.targets
        ],
