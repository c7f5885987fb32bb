# One job a pack: the folds and seeds of one target, level and model share a process (training.pack).
# A run's resume state lives in SCRATCH, which Snakemake never deletes: a killed job continues where it stopped.


rule image:
    input:
        views(["none"]),
    output:
        run_files("image/{target}/none", *NETWORK_FILES),
    log:
        pack_file(f"{LOGS}/image/{{target}}", ".log"),
    benchmark:
        pack_file(f"{LOGS}/benchmark/image.{{target}}", ".tsv")
    conda:
        "../envs/rhoflow.yaml"
    threads: STUDY.training.threads
    resources:
        mem_mb=5000,
        runtime=240,
        gpu=GPU,
    params:
        root=root,
        scratch=SCRATCH,
        runs=job_runs,
        options=options("image", "readout", "training"),
        code=code_of("train"),
    message:
        "Train image -> {wildcards.target}"
    shell:
        "python $RHOFLOW_SCRIPTS/train.py --root {params.root} --scratch {params.scratch} --model image --target {wildcards.target}"
        " --level none --runs {params.runs} --options {params.options:q} > {log} 2>&1"


rule text:
    input:
        views(["{level}"]),
    output:
        run_files("text/{target}/{level}", *NETWORK_FILES),
    log:
        pack_file(f"{LOGS}/text/{{target}}.{{level}}", ".log"),
    benchmark:
        pack_file(f"{LOGS}/benchmark/text.{{target}}.{{level}}", ".tsv")
    conda:
        "../envs/rhoflow.yaml"
    threads: STUDY.training.threads
    resources:
        mem_mb=5000,
        runtime=240,
        gpu=GPU,
    params:
        root=root,
        scratch=SCRATCH,
        runs=job_runs,
        frozen=frozen,
        options=options("language", "readout", "training"),
        code=code_of("train"),
    message:
        "Train text ({wildcards.level}) -> {wildcards.target}"
    shell:
        "python $RHOFLOW_SCRIPTS/train.py --root {params.root} --scratch {params.scratch} --model text --target {wildcards.target}"
        " --level {wildcards.level} --runs {params.runs} {params.frozen} --options {params.options:q} > {log} 2>&1"


rule fusion:
    input:
        views(["none", "{level}"]),
        run_files("image/{target}/none", "model.safetensors"),
        run_files("text/{target}/{level}", "model.safetensors"),
    output:
        run_files("fusion/{target}/{level}", *NETWORK_FILES),
    log:
        pack_file(f"{LOGS}/fusion/{{target}}.{{level}}", ".log"),
    benchmark:
        pack_file(f"{LOGS}/benchmark/fusion.{{target}}.{{level}}", ".tsv")
    conda:
        "../envs/rhoflow.yaml"
    threads: STUDY.training.threads
    resources:
        mem_mb=5000,
        runtime=240,
        gpu=GPU,
    params:
        root=root,
        scratch=SCRATCH,
        runs=job_runs,
        frozen=frozen,
        options=options("image", "language", "readout", "fusion", "training"),
        code=code_of("train"),
    message:
        "Train image + text ({wildcards.level}) -> {wildcards.target}"
    shell:
        "python $RHOFLOW_SCRIPTS/train.py --root {params.root} --scratch {params.scratch} --model fusion --target {wildcards.target}"
        " --level {wildcards.level} --runs {params.runs} {params.frozen} --options {params.options:q} > {log} 2>&1"


rule baselines:
    input:
        all_views,
    output:
        kind_files(BASELINES, RUN_FILES, targets=["{target}"]),
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
        options=options("levels", "splits", "seeds"),
        code=code_of("baselines"),
    message:
        "Fit the baselines for {wildcards.target}"
    shell:
        "python $RHOFLOW_SCRIPTS/baselines.py --root {params.root} --target {wildcards.target}"
        " --options {params.options:q} > {log} 2>&1"


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
        options=options("llm", "splits", "seeds"),
        code=code_of("incontext"),
    message:
        "Ask the language model ({wildcards.level}) -> {wildcards.target}"
    shell:
        "python $RHOFLOW_SCRIPTS/incontext.py --root {params.root} --target {wildcards.target}"
        " --level {wildcards.level} --options {params.options:q} 2>&1 | tee {log}"
