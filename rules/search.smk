# Hyper-parameter search: once a network, target, text level and fold, inside the fold's training part (section search).
# What was tried stays in a journal in SCRATCH, which Snakemake never deletes: a killed search goes on where it stopped.
SEARCHED = [
    f"{ROOT}/{chosen_file(model, target, level, fold)}"
    for model, level in plain_kinds(NETWORKS)
    if model in STUDY.search.models
    for target in STUDY.targets
    for fold in series_folds(STUDY, model)
]


rule search:
    input:
        search_views,
        searched_parents,
    output:
        f"{ROOT}/{chosen_file('{model}', '{target}', '{level}', '{fold}')}",
    log:
        f"{LOGS}/search/{{model}}/{{target}}.{{level}}.fold{{fold}}.log",
    benchmark:
        f"{LOGS}/benchmark/search.{{model}}.{{target}}.{{level}}.fold{{fold}}.tsv"
    wildcard_constraints:
        model="|".join(STUDY.search.models) or "none",
        level="|".join([NO_TEXT, *STUDY.levels]),
    conda:
        "../envs/rhoflow.yaml"
    threads: STUDY.training.threads
    resources:
        mem_mb=5000,
        runtime=1440,
        gpu=GPU,
    params:
        root=root,
        scratch=SCRATCH,
        frozen=frozen,
        options=search_options,
        code=code_of("search"),
    message:
        "Search settings of {wildcards.model} ({wildcards.level}) -> {wildcards.target}, fold {wildcards.fold}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/search.py --root {params.root} --scratch {params.scratch} --model {wildcards.model} --target {wildcards.target}'
        " --level {wildcards.level} --fold {wildcards.fold} {params.frozen} --options {params.options:q} 2>&1 | tee {log}"
