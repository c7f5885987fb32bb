# Which materials, in which shards; their densities on the native grid; their densities of states.
# Long steps tell their progress in the log and, through tee, in the terminal.

# Compute nodes are offline: what asks the network runs beside snakemake, unless the profile names a partition for it.
if runs_beside("query", asks=ASKED):

    localrules:
        query,


if runs_beside("ingest", asks=CONNECTIONS):

    localrules:
        ingest,


if runs_beside("dos", asks=CONNECTIONS):

    localrules:
        dos,


if runs_beside("incontext", asks=IN_CONTEXT):

    localrules:
        incontext,


if ASKED:

    # The only step that asks the Materials Project's database. Neither new code nor another day changes the answer
    # that a study has: delete the file to ask again.
    rule query:
        output:
            SNAPSHOT,
        log:
            f"{LOGS}/query.log",
        benchmark:
            f"{LOGS}/benchmark/query.tsv"
        conda:
            "../envs/rhoflow.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=720,
            download=CONNECTIONS,
        params:
            scratch=SCRATCH,
            options=query_options(),
            # The lines of the file of ids.
            fingerprint=FINGERPRINT,
        message:
            "Ask the Materials Project which materials there are"
        shell:
            'python "$RHOFLOW_SCRIPTS"/query.py --options {params.options:q} --connections {resources.download}'
            " --cache {params.scratch}/query --snapshot {output} 2>&1 | tee {log}"


rule catalog:
    input:
        SNAPSHOT if ASKED else [],
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
        mem_mb=4000,
        runtime=60,
    params:
        scratch=SCRATCH,
        snapshot=f"--snapshot {SNAPSHOT}" if ASKED else "",
        options=options("source", "field", "dos", "properties"),
        shards=STUDY.shards,
        # Names, sizes and dates of the source's files: a change makes the catalogue look again.
        fingerprint=FINGERPRINT,
        code=code_of("catalog"),
    message:
        "Catalogue the materials"
    shell:
        'python "$RHOFLOW_SCRIPTS"/catalog.py --options {params.options:q} --shards {params.shards} {params.snapshot}'
        " --cache {params.scratch}/content-keys.json --table {output.table} --rejected {output.rejected} 2>&1 | tee {log}"


# A checkpoint: what follows compares the manifests' content, so only shards that changed rerun.
# What it says of disk and downloads goes to the terminal too, and it stops where the disk lacks room.
checkpoint plan:
    input:
        rules.catalog.output.table,
    output:
        manifests=expand(f"{ROOT}/plan/{{shard}}.json", shard=SHARDS),
        texts=expand(
            f"{ROOT}/plan/{{shard}}.texts.json.gz",
            shard=SHARDS if GIVEN_TEXTS else [],
        ),
    log:
        f"{LOGS}/plan.log",
    benchmark:
        f"{LOGS}/benchmark/plan.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
        # Targets, weights of the networks, and downloads at a time. No params: none makes `plan` run again, because until
        # it has run a dry run cannot tell what a new target, seed or level would train.
        targets=" ".join(STUDY.targets),
        trained=TRAINED,
        at_once=AT_ONCE,
    params:
        root=root,
        shards=STUDY.shards,
        texts=GIVEN_TEXTS,
        # Whole sections: what is kept of the downloads takes disk, and so do other images.
        options=STUDY.model_dump_json(
            include=dict.fromkeys(
                [
                    "source",
                    "properties",
                    "shards",
                    "raw",
                    "field",
                    "grid",
                    "slices",
                    "dos",
                ],
                True,
            )
            | {"ablation": {"images"}}
        ),
        code=code_of("plan"),
    message:
        "Plan {STUDY.shards} shards"
    shell:
        'python "$RHOFLOW_SCRIPTS"/plan.py --catalog {input} --folder {params.root}/plan --shards {params.shards}'
        " {params.texts} --root {params.root} --options {params.options:q}"
        " {resources.at_once} --targets {resources.targets} --trained {resources.trained} 2>&1 | tee {log}"


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
        runtime=240,
        download=CONNECTIONS,
    params:
        scratch=SCRATCH,
        options=ingest_options,
        keep=KEEP,
        code=code_of("ingest"),
    message:
        "Read the densities of shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/ingest.py --plan {input.plan} --store {output.store} --scratch {params.scratch}/ingest'
        " --connections {resources.download} {params.keep} --options {params.options:q} 2>&1 | tee {log}"


rule dos:
    input:
        plan=manifest,
    output:
        **shard_files(f"{ROOT}/dos/{{shard}}.h5"),
    log:
        f"{LOGS}/dos/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/dos.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        download=CONNECTIONS,
    params:
        code=code_of("dos"),
    message:
        "Gather the densities of states of shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/dos.py --plan {input.plan} --store {output.store} 2>&1 | tee {log}'
