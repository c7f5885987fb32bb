# One job a pack: the folds and seeds of one target, level and model share a process (training.pack).
# A run's resume state lives in SCRATCH, which Snakemake never deletes: a killed job continues where it stopped.


# One rule a network, named as it is. A network and its variants (section ablation) are series of the same rule.
for NETWORK, KNOWN in KNOWN_NETWORKS.items():
    LEVEL = run_level(NETWORK, "{level}")

    rule:
        name:
            NETWORK
        input:
            views(levels_read(NETWORK)),
            chosen,
            parent_weights(NETWORK),
        output:
            run_files(
                f"{{model}}/{{target}}/{LEVEL}",
                *NETWORK_FILES,
                folds=series_folds(STUDY, NETWORK),
            ),
        log:
            pack_file(f"{LOGS}/{{model}}/{{target}}.{LEVEL}", ".log"),
        benchmark:
            pack_file(
                f"{LOGS}/benchmark/{{model}}.{{target}}.{LEVEL}",
                ".tsv",
            )
        wildcard_constraints:
            model=series_of(NETWORK),
        conda:
            "../envs/rhoflow.yaml"
        threads: STUDY.training.threads * STUDY.training.devices
        resources:
            mem_mb=8000,
            runtime=240,
            gpu=GPU,
            local_disk="",
        params:
            root=root,
            scratch=SCRATCH,
            level=LEVEL,
            runs=job_runs,
            searched=searched,
            frozen=frozen,
            options=options(*KNOWN.sections, "two_part", "training", "properties"),
            code=code_of("train"),
        message:
            "Train {wildcards.model} ({params.level}) -> {wildcards.target}"
        shell:
            'python "$RHOFLOW_SCRIPTS"/train.py --root {params.root} --scratch {params.scratch} --model {wildcards.model} --target {wildcards.target}'
            " --level {params.level} --runs {params.runs} {params.frozen} {params.searched} --options {params.options:q}"
            " --local-disk={resources.local_disk:q} 2>&1 | tee {log}"


VARIANT_BASELINES = [kind for kind in BASELINES if kind not in plain_kinds(BASELINES)]
# Those of every baseline; of CLIP's too, where the study has CLIP.
BASELINE_FOLDS = series_folds(STUDY, "mean")


rule baselines:
    input:
        views(VIEWS, BASELINE_FOLDS),
    output:
        kind_files(plain_kinds(BASELINES), RUN_FILES, targets=["{target}"]),
    log:
        f"{LOGS}/baselines/{{target}}.log",
    benchmark:
        f"{LOGS}/benchmark/baselines.{{target}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        root=root,
        series=words(plain_kinds(BASELINES)),
        folds=len(BASELINE_FOLDS),
        options=options("properties", "splits", "seeds", "two_part"),
        code=code_of("baselines"),
    message:
        "Fit the baselines for {wildcards.target}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/baselines.py --root {params.root} --target {wildcards.target}'
        " --series {params.series} --folds {params.folds} --options {params.options:q} 2>&1 | tee {log}"


# Their variants; apart, so that asking for one leaves the others alone.
if VARIANT_BASELINES:

    use rule baselines as baseline_variants with:
        input:
            views([*VIEWS, *IMAGE_VIEWS]),
        output:
            kind_files(VARIANT_BASELINES, RUN_FILES, targets=["{target}"]),
        log:
            f"{LOGS}/baseline-variants/{{target}}.log",
        benchmark:
            f"{LOGS}/benchmark/baseline-variants.{{target}}.tsv"
        params:
            root=root,
            series=words(VARIANT_BASELINES),
            folds=len(FOLDS),
            options=options("properties", "splits", "seeds", "two_part"),
            code=code_of("baselines"),
        message:
            "Fit the variants of the baselines for {wildcards.target}"


# All folds and seeds of one target and level. Answers are kept in {ROOT}/llm/answers, no declared output, so Snakemake
# never deletes them: a rerun asks only what was not answered. The key comes from the environment (llm.api_key_variable).
# What it costs goes to the terminal too.
rule incontext:
    input:
        views(["none", "{level}"]),
    output:
        f"{ROOT}/{estimate_file('{target}', '{level}')}",
        kind_files(
            [("llm", "{level}")] if ASKED_KINDS else [],
            RUN_FILES,
            targets=["{target}"],
        ),
    log:
        f"{LOGS}/llm/{{target}}.{{level}}.log",
    benchmark:
        f"{LOGS}/benchmark/llm.{{target}}.{{level}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=1440,
        llm=1,
    params:
        root=root,
        options=options("llm", "properties", "splits", "seeds"),
        code=code_of("incontext"),
    message:
        "Ask the language model ({wildcards.level}) -> {wildcards.target}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/incontext.py --root {params.root} --target {wildcards.target}'
        " --level {wildcards.level} --options {params.options:q} 2>&1 | tee {log}"
