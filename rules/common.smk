# The validated study and the few helpers that the rules share. Of the data only names, sizes and dates are looked at.
import json
import os
import shutil
from pathlib import Path

from snakemake.exceptions import IncompleteCheckpointException, WorkflowError

from rhoflow.config import KNOWN_NETWORKS, load_study
from rhoflow.dataset.names import DENSITY, EMBEDDINGS, NO_TEXT, STRUCTURE, image_level
from rhoflow.errors import StudyError
from rhoflow.models.names import WEIGHTS
from rhoflow.orphans import remove_leftovers, stop_at_orphans
from rhoflow.report.names import (
    FIGURE_INDEX,
    SALIENCY,
    SALIENCY_INDEX,
    asked_kinds,
    figure_names,
    has_saliency,
    run_kinds,
    table_names,
)
from rhoflow.source_digest import package_digest, script_digest
from rhoflow.sources.catalog import source_fingerprint
from rhoflow.sources.manifest import lists_descriptions
from rhoflow.sources.trained import trained
from rhoflow.training.names import (
    NETWORK_FILES,
    RUN_FILES,
    base_of,
    baseline_kinds,
    estimate_file,
    llm_kinds,
    network_kinds,
    network_runs,
    parent_of,
    parents,
    plain_kinds,
    run_level,
    series_folds,
    series_targets,
    view_level,
)
from rhoflow.training.search.names import SECTIONS as SEARCH_SECTIONS
from rhoflow.training.search.names import TABLE as SEARCH_TABLE
from rhoflow.training.search.names import chosen_file

try:
    STUDY = load_study(config)
    FINGERPRINT = source_fingerprint(STUDY.source, field=STUDY.field, dos=STUDY.dos)
except StudyError as error:
    raise WorkflowError(str(error)) from None

ROOT = f"results/{STUDY.study}"
LOGS = f"logs/{STUDY.study}"
SCRATCH = f"scratch/{STUDY.study}"
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# In the environment, because a path in a command or a parameter would rerun everything where the project is moved.
os.environ.update(RHOFLOW_SCRIPTS=os.path.relpath(SCRIPTS))
# No job downloads weights, with network or without: `rhoflow fetch-weights` does, before the run.
os.environ.update(HF_HUB_OFFLINE="1")
if workflow.deployment_settings.deployment_method:
    # An environment made for the jobs (--sdm) holds all packages of the lock, but not rhoflow itself.
    os.environ.update(PYTHONPATH=f"{workflow.basedir}/src")
# Where each job notes host, time and memory (rhoflow.job_record); not an output, because it differs from run to run.
os.environ.update(RHOFLOW_JOBS=f"{ROOT}/provenance/jobs")
# The Materials Project's answer, and whether its own descriptions are taken from it, or from a list that holds them.
ASKED = STUDY.source.kind == "materials_project"
SNAPSHOT = f"{ROOT}/catalog/materials_project.jsonl.gz"
if ASKED:
    GIVEN_TEXTS = (
        f"--snapshot {SNAPSHOT}"
        if STUDY.source.descriptions == "materials_project"
        else ""
    )
else:
    listed = STUDY.source.kind == "manifest" and lists_descriptions(STUDY.source)
    GIVEN_TEXTS = "--described" if listed else ""
# Downloads at a time of one job; the resource `download` in the profile limits the sum over all jobs.
CONNECTIONS = getattr(STUDY.source, "connections", 0)
# What `plan` counts for the disk: downloads that can be in flight, and the networks.
DOWNLOADS = workflow.resource_settings.resources.get("download")
AT_ONCE = "" if DOWNLOADS is None else f"--downloads {DOWNLOADS.value}"
TRAINED = " ".join(network.word for network in trained(STUDY, network_runs(STUDY)))
KEEP = "--keep downloads" if getattr(STUDY.source, "keep_downloads", False) else ""
SHARDS = [f"{shard:04d}" for shard in range(STUDY.shards)]
FOLDS = range(STUDY.splits.folds)
# What a training sees, hence a view: images (none), density quantiles, or one text level.
EMBEDDED = "chgnet-ridge" in STUDY.baselines
VIEWS = [NO_TEXT, DENSITY, *([STRUCTURE] if EMBEDDED else []), *STUDY.levels]
# Views of the crystals' other images (ablation.images).
IMAGE_VIEWS = [image_level(name) for name in STUDY.ablation.images]
NETWORKS = network_kinds(STUDY)
BASELINES = baseline_kinds(STUDY)
# The language model's series, and those that have runs: a dry run ends with the cost estimate.
IN_CONTEXT = llm_kinds(STUDY.models, STUDY.llm.levels)
ASKED_KINDS = asked_kinds(STUDY)
# Each shard store has its content hashes and its statistics and rejections beside it.
SIDECARS = ["", ".digest.json", ".summary.json"]


wildcard_constraints:
    shard=r"\d{4}",
    images="|".join(STUDY.ablation.images),
    target="|".join(STUDY.targets),
    level="|".join(STUDY.levels),
    fold=r"\d+",
    seed=r"\d+",


def root(wildcards):
    """Parameter function: the study's result folder."""
    return ROOT


def runs_beside(name, asks):
    """Whether a step that asks the network runs beside snakemake, as it does where the profile names no partition."""
    pinned = workflow.resource_settings.overwrite_resources.get(name, {})
    return bool(asks) and "slurm_partition" not in pinned


def look_for_orphans():
    """Stop where jobs of an earlier run are still at work, which would write what this one does; clear up after others."""
    prefix = getattr(workflow.executor_settings, "jobname_prefix", None)
    try:
        none_left = stop_at_orphans(
            Path.cwd(),
            os.path.relpath(SCRIPTS),
            prefix or "rhoflow",
            submits=prefix is not None,
        )
    except StudyError as error:
        raise WorkflowError(str(error)) from None
    if none_left and (workflow.local_exec or prefix):
        remove_leftovers(Path(ROOT))


def code_of(name):
    """Digest of a script and all of rhoflow that it uses: what it makes is made anew when its code changes."""
    return script_digest(SCRIPTS / f"{name}.py")


def options(*sections):
    """Sorted JSON of the sections that a step uses; it reruns when they change, and only then."""
    # How many downloads run at a time and which runs share a process change no result; which levels stay frozen, only
    # theirs (`frozen`).
    apart = {
        "source": {"connections", "keep_downloads"},
        "training": {"pack", "frozen_levels"},
    }
    plain = STUDY.model_dump(mode="json", include=set(sections), exclude=apart)
    return json.dumps(plain, sort_keys=True)


def shard_stores():
    """Stores of all shards."""
    patterns = [
        "raw/{shard}.h5",
        "grids/{shard}.zarr.zip",
        "slices/{shard}.npz",
        "text/{shard}.jsonl",
    ]
    return expand(f"{ROOT}/{{pattern}}", pattern=expand(patterns, shard=SHARDS))


def contents():
    """What views, leakage check and lineage are digests of: the content hashes of all shards, and the texts."""
    further = [*image_stores(), *embedding_stores()]
    digests = [f"{store}.digest.json" for store in [*shard_stores(), *further]]
    # The summaries say of which materials there is no such image or embedding.
    missing = [f"{store}.summary.json" for store in further]
    return digests + missing + expand(f"{ROOT}/text/{{shard}}.jsonl", shard=SHARDS)


def image_stores():
    """Stores of the crystals' other images, of all shards."""
    return expand(
        f"{ROOT}/images/{{name}}/{{shard}}.npz",
        name=STUDY.ablation.images,
        shard=SHARDS,
    )


def embedding_stores():
    """Stores of the structures' embeddings, of all shards."""
    return expand(
        f"{ROOT}/{EMBEDDINGS}/{{shard}}.npz", shard=SHARDS if EMBEDDED else []
    )


def image_options(wildcards):
    """Parameter function: what the images of one name depend on, as of a study whose own images they are."""
    other = STUDY.with_images(wildcards.images)
    # Pictures and spectra for people are those of the study's own images.
    slices = other.slices.model_copy(update={"png": False, "fourier": False})
    sections = {"field", "deformation", "grid", "slices"}
    plain = other.model_copy(update={"slices": slices}).model_dump(
        mode="json", include=sections
    )
    return json.dumps(plain, sort_keys=True)


def shard_files(store):
    """Outputs of a per-shard step, i.e. the store, its content hashes, its statistics and rejections."""
    return {
        "store": store,
        "digest": f"{store}.digest.json",
        "summary": f"{store}.summary.json",
    }


_ANSWERS = {}


def wait_for(name):
    """Raise Snakemake's exception as long as the checkpoint of that name has not run.

    Its own `get` expands all outputs at each call, 30 ms for 480 shards, and every job of a shard calls it: its answer
    is remembered until Snakemake notes further outputs of checkpoints; it forgets none.
    """
    key = name, len(checkpoints.created_output)
    if key not in _ANSWERS:
        try:
            getattr(checkpoints, name).get()
            _ANSWERS[key] = None
        except IncompleteCheckpointException as incomplete:
            _ANSWERS[key] = incomplete
    if _ANSWERS[key]:
        raise _ANSWERS[key]


def manifest(wildcards):
    """The shard's manifest, known once `plan` has run: Snakemake then compares its content, not its date."""
    wait_for("plan")
    return f"{ROOT}/plan/{wildcards.shard}.json"


def ingest_options(wildcards):
    """Parameter function: what the archive depends on; a field that is there anyway, or made later, is not part of it."""
    settings = json.loads(options("field", "raw", "grid"))
    if STUDY.field not in ("all_electron", "deformation"):
        settings["field"] = "total"
    if STUDY.raw != "none":
        del settings["grid"]
    return json.dumps(settings, sort_keys=True)


def query_options():
    """What the answer depends on: the selection, and whether all-electron densities and densities of states are wanted."""
    settings = json.loads(options("source", "field", "dos"))
    if STUDY.field != "all_electron":
        settings["field"] = "total"
    return json.dumps(settings, sort_keys=True)


def given_texts(wildcards):
    """The descriptions that came with the materials of a shard, known once `plan` has run."""
    wait_for("plan")
    return f"{ROOT}/plan/{wildcards.shard}.texts.json.gz" if GIVEN_TEXTS else []


def views(levels, folds=()):
    """Input function: the views of the wanted levels for the job's folds, or the given ones, known once `views` has run.

    A network on other images has their view in place of the study's images.
    """

    def of_job(wildcards):
        wait_for("views")
        named = [wildcards.fold] if "fold" in wildcards.keys() else []
        wanted = [level.format(**wildcards) for level in levels]
        if "model" in wildcards.keys():
            wanted = [view_level(wildcards.model, level) for level in wanted]
        return expand(
            f"{ROOT}/views/{wildcards.target}.{{level}}.{{fold}}.json",
            level=wanted,
            fold=folds or named or job_folds(wildcards),
        )

    return of_job


def series_of(base):
    """Pattern of the names of a network and of its variants that the study has."""
    return "|".join(
        dict.fromkeys([base, *(m for m, _ in NETWORKS if base_of(m)[0] == base)])
    )


def levels_read(network):
    """Levels of the views that a network reads: the images', the text's."""
    levels = {"image": NO_TEXT, "text": "{level}"}
    return [levels[what] for what in KNOWN_NETWORKS[network].reads]


def parent_weights(network):
    """Input function: weights of the runs that the job's runs are built on, of the same folds and seeds."""

    def of_job(wildcards):
        files = []
        for parent in parents(STUDY, network):
            series = parent_of(wildcards.model, parent)
            pattern = f"{series}/{{target}}/{run_level(parent, '{level}')}"
            files += run_files(pattern, WEIGHTS, folds=series_folds(STUDY, network))
        return [file.format(**wildcards) for file in files]

    return of_job


def run_folders(pattern, folds=FOLDS):
    """Folders of the runs of one job: all folds and seeds of a pack, or the one its wildcards name."""
    if STUDY.training.pack == "run":
        return [f"{ROOT}/runs/{pattern}/fold{{fold}}/seed{{seed}}"]
    return [
        f"{ROOT}/runs/{pattern}/fold{fold}/seed{seed}"
        for fold in folds
        for seed in STUDY.seeds
    ]


def run_files(pattern, *names, folds=FOLDS):
    """Files in the folders of the runs of one job."""
    folders = run_folders(pattern, folds)
    return [f"{folder}/{name}" for folder in folders for name in names]


def job_folds(wildcards):
    """Folds of a job that has all of its series; of one without a model, those of the first partition."""
    model = wildcards.get("model")
    return series_folds(STUDY, model) if model else FOLDS


def job_runs(wildcards):
    """The runs of a training job as `fold:seed` words."""
    if STUDY.training.pack == "run":
        return [f"{wildcards.fold}:{wildcards.seed}"]
    folds = job_folds(wildcards)
    return [f"{fold}:{seed}" for fold in folds for seed in STUDY.seeds]


def kind_files(kinds, names, targets=None):
    """Files of all runs of some (model, level) kinds, for all targets that each is trained for or for the given ones."""
    return [
        f"{ROOT}/runs/{model}/{target}/{level}/fold{fold}/seed{seed}/{name}"
        for model, level in kinds
        for target in targets or series_targets(STUDY, model)
        for fold in series_folds(STUDY, model)
        for seed in STUDY.seeds
        for name in names
    ]


def table_file(name):
    """A file in tables/; of the formats, Snakemake's report shows the CSV."""
    stem, _, suffix = name.partition(".")
    if suffix != "csv":
        return f"{ROOT}/tables/{name}"
    return report(
        f"{ROOT}/tables/{name}",
        caption=f"../report/tables/{'tests' if stem.endswith('_tests') else stem}.rst",
        category="Tables",
        labels={"table": stem},
    )


def figure_files(name):
    """PNG and SVG of a figure; Snakemake's report shows the PNG."""
    target = next((one for one in STUDY.targets if name.endswith(f"_{one}")), None)
    kind = name.removesuffix(f"_{target}")
    shown = report(
        f"{ROOT}/figures/{name}.png",
        caption=f"../report/figures/{kind}.rst",
        category="Figures",
        labels={"figure": kind, "target": target or "all"},
    )
    return [shown, f"{ROOT}/figures/{name}.svg"]


def frozen(wildcards):
    """Parameter function: the option that keeps the backbones of a level frozen, where it should."""
    kept = wildcards.get("level", NO_TEXT) in STUDY.training.frozen_levels
    return "--frozen" if kept else ""


def chosen(wildcards):
    """Input function: what the search chose for the job's folds, where its network is searched."""
    base = base_of(wildcards.model)[0]
    if base not in STUDY.search.models:
        return []
    level = wildcards.get("level", NO_TEXT)
    folds = dict.fromkeys(run.split(":")[0] for run in job_runs(wildcards))
    return [
        f"{ROOT}/{chosen_file(base, wildcards.target, level, fold)}" for fold in folds
    ]


def searched(wildcards):
    """Parameter function: the option that takes the chosen settings, where the network is searched."""
    return "--searched" if base_of(wildcards.model)[0] in STUDY.search.models else ""


def pack_file(stem, suffix):
    """A file a training job, named by the wildcards that the job has."""
    return (
        f"{stem}.fold{{fold}}.seed{{seed}}{suffix}"
        if STUDY.training.pack == "run"
        else f"{stem}{suffix}"
    )


def words(kinds):
    """Some (model, level) kinds as `model:level` words."""
    return [f"{model}:{level}" for model, level in kinds]


# One training a GPU on this machine; without one, the cores decide.
GPU = int(shutil.which("nvidia-smi") is not None)


def search_views(wildcards):
    """The views of what the network reads."""
    return views(levels_read(wildcards.model))(wildcards)


def search_options(wildcards):
    """Parameter function: what a search depends on, its network's sections among it."""
    return options(*KNOWN_NETWORKS[wildcards.model].sections, *SEARCH_SECTIONS)


def searched_parents(wildcards):
    """What the search chose for the networks that one is built on."""
    target, level, fold = wildcards.target, wildcards.level, wildcards.fold
    return [
        f"{ROOT}/{chosen_file(parent, target, run_level(parent, level), fold)}"
        for parent in parents(STUDY, wildcards.model)
        if parent in STUDY.search.models
    ]
