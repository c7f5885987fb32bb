# Tables, figures, provenance and the report, from the runs' files alone.
# Each table prints a lineage id, the hash of config, data and all of rhoflow's source: hence ALL_CODE.
ALL_CODE = package_digest()
DATASET = [
    *rules.clean.output,
    *rules.splits.output,
    *rules.leakage.output,
    *contents(),
]


rule tables:
    input:
        kind_files(run_kinds(STUDY), ["metrics.json", "predictions.parquet"]),
        DATASET,
    output:
        [table_file(name) for name in table_names(STUDY)],
    log:
        f"{LOGS}/tables.log",
    benchmark:
        f"{LOGS}/benchmark/tables.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        root=root,
        study=STUDY.model_dump_json(),
        code=ALL_CODE,
    message:
        "Make the tables"
    shell:
        'python "$RHOFLOW_SCRIPTS"/tables.py --root {params.root} --output {params.root}/tables --study {params.study:q} > {log} 2>&1'


if SEARCHED:

    rule search_table:
        input:
            DATASET,
            chosen=SEARCHED,
        output:
            [table_file(name) for name in SEARCH_TABLE],
        log:
            f"{LOGS}/search_table.log",
        benchmark:
            f"{LOGS}/benchmark/search_table.tsv"
        conda:
            "../envs/rhoflow.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            root=root,
            study=STUDY.model_dump_json(),
            code=ALL_CODE,
        message:
            "Table of what the searches chose"
        shell:
            'python "$RHOFLOW_SCRIPTS"/search_table.py --root {params.root} --study {params.study:q} --chosen {input.chosen} > {log} 2>&1'


rule figures:
    input:
        rules.tables.input,
        kind_files(NETWORKS, ["history.csv"]),
        expand(
            f"{ROOT}/{{store}}",
            store=expand(["raw/{shard}.h5", "slices/{shard}.npz"], shard=SHARDS),
        ),
    output:
        [file for name in figure_names(STUDY) for file in figure_files(name)],
        f"{ROOT}/figures/{FIGURE_INDEX}",
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{LOGS}/benchmark/figures.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        root=root,
        study=STUDY.model_dump_json(),
        code=ALL_CODE,
    message:
        "Draw the figures"
    shell:
        'python "$RHOFLOW_SCRIPTS"/figures.py --root {params.root} --output {params.root}/figures --study {params.study:q} > {log} 2>&1'


# A figure of its own: it needs torch, and the weights of one run.
rule saliency:
    input:
        expand(
            f"{ROOT}/runs/image/{STUDY.targets[0]}/none/fold0/seed{STUDY.seeds[0]}/{{name}}",
            name=["metrics.json", "predictions.parquet", "model.safetensors"],
        ),
        DATASET,
        expand(f"{ROOT}/slices/{{shard}}.npz", shard=SHARDS),
    output:
        figure_files(SALIENCY),
        f"{ROOT}/figures/{SALIENCY_INDEX}",
    log:
        f"{LOGS}/saliency.log",
    benchmark:
        f"{LOGS}/benchmark/saliency.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: STUDY.training.threads
    resources:
        mem_mb=5000,
        runtime=30,
    params:
        root=root,
        study=STUDY.model_dump_json(),
        code=ALL_CODE,
    message:
        "Draw where the image network looks"
    shell:
        'python "$RHOFLOW_SCRIPTS"/saliency.py --root {params.root} --output {params.root}/figures --study {params.study:q}'
        " > {log} 2>&1"


# Everything that is known of how the results came about, and a crate of it to publish (docs/provenance.md). It also
# reads the jobs' journals and the benchmarks, which are no inputs: they hold times, and every job would rerun.
rule provenance:
    input:
        kind_files(run_kinds(STUDY), ["run.prov.json"]),
        rules.tables.output,
        rules.search_table.output if SEARCHED else [],
        rules.figures.output,
        rules.saliency.output if has_saliency(STUDY) else [],
        DATASET,
    output:
        expand(
            f"{ROOT}/provenance/{{name}}",
            name=[
                "provenance.json",
                "lineage.json",
                "inputs.csv",
                "config.yaml",
                "methods.md",
                "methods.tex",
                "references.bib",
                "crate/ro-crate-metadata.json",
            ],
        ),
        report(
            f"{ROOT}/provenance/report.html",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"what": "where every number comes from"},
        ),
    log:
        f"{LOGS}/provenance.log",
    benchmark:
        f"{LOGS}/benchmark/provenance.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        root=root,
        logs=LOGS,
        scratch=SCRATCH,
        study=STUDY.model_dump_json(),
        code=ALL_CODE,
    message:
        "Gather the provenance"
    shell:
        'python "$RHOFLOW_SCRIPTS"/provenance.py --root {params.root} --logs {params.logs} --scratch {params.scratch}'
        " --study {params.study:q} > {log} 2>&1"


rule report:
    input:
        rules.tables.output,
        rules.figures.output,
        rules.saliency.output if has_saliency(STUDY) else [],
        rules.provenance.output,
        DATASET,
        expand(f"{ROOT}/slices/{{shard}}.npz", shard=SHARDS),
    output:
        report(
            f"{ROOT}/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"what": "results on one page"},
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{LOGS}/benchmark/report.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        root=root,
        study=STUDY.model_dump_json(),
        code=ALL_CODE,
    message:
        "Write the report"
    shell:
        'python "$RHOFLOW_SCRIPTS"/report.py --root {params.root} --output {output} --study {params.study:q} > {log} 2>&1'
