# Which materials, in which shards; their densities on the native grid.


rule catalog:
    output:
        table=f"{ROOT}/catalog/materials.parquet",
        rejected=f"{ROOT}/catalog/rejected.json",
    log:
        f"{LOGS}/catalog.log",
    benchmark:
        f"{LOGS}/benchmark/catalog.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        scratch=SCRATCH,
        options=options("source"),
        shards=STUDY.shards,
        # Names, sizes and dates of the source's files: a change makes the catalogue look again.
        fingerprint=FINGERPRINT,
        code=code_of("catalog"),
    message:
        "Catalogue the materials of {STUDY.source.path}"
    shell:
        "python $RHOFLOW_SCRIPTS/catalog.py --options {params.options:q} --shards {params.shards}"
        " --cache {params.scratch}/content-keys.json --table {output.table} --rejected {output.rejected} > {log} 2>&1"


# A checkpoint: what follows compares the manifests' content, so only shards that changed rerun.
checkpoint plan:
    input:
        rules.catalog.output.table,
    output:
        expand(f"{ROOT}/plan/{{shard}}.json", shard=SHARDS),
    log:
        f"{LOGS}/plan.log",
    benchmark:
        f"{LOGS}/benchmark/plan.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        root=root,
        shards=STUDY.shards,
        code=code_of("plan"),
    message:
        "Plan {STUDY.shards} shards"
    shell:
        "python $RHOFLOW_SCRIPTS/plan.py --catalog {input} --folder {params.root}/plan --shards {params.shards} > {log} 2>&1"


rule ingest:
    input:
        plan=manifest,
    output:
        **shard_files(f"{ROOT}/raw/{{shard}}.h5"),
    log:
        f"{LOGS}/ingest/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/ingest.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_of("ingest"),
    message:
        "Read the densities of shard {wildcards.shard}"
    shell:
        "python $RHOFLOW_SCRIPTS/ingest.py --plan {input.plan} --store {output.store} > {log} 2>&1"
