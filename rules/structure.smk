# Embeddings of the crystals' structures, for the baseline that reads them (baselines: [chgnet-ridge]).


rule embed:
    input:
        archive=rules.ingest.output.store,
        plan=manifest,
    output:
        **shard_files(f"{ROOT}/{EMBEDDINGS}/{{shard}}.npz"),
    log:
        f"{LOGS}/embed/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/embed.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_of("embed"),
    message:
        "Embed the structures of shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/embed.py --archive {input.archive} --store {output.store} 2>&1 | tee {log}'
