# From native densities to what a training sees: grids, images, texts, the kept materials, targets, splits, views.
# Per-shard rules name the manifest although they do not read it: only jobs that hang on the checkpoint itself are
# judged anew after it; the others would rerun with every new catalogue.


rule grids:
    input:
        archive=rules.ingest.output.store,
        plan=manifest,
    output:
        **shard_files(f"{ROOT}/grids/{{shard}}.zarr.zip"),
    log:
        f"{LOGS}/grids/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/grids.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        options=options("field", "deformation", "grid"),
        code=code_of("grids"),
    message:
        "Regrid shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/grids.py --archive {input.archive} --store {output.store}'
        " --options {params.options:q} 2>&1 | tee {log}"


rule slices:
    input:
        archive=rules.ingest.output.store,
        plan=manifest,
    output:
        **shard_files(f"{ROOT}/slices/{{shard}}.npz"),
        **({"pictures": f"{ROOT}/slices/{{shard}}.png.zip"} if STUDY.slices.png else {}),
    log:
        f"{LOGS}/slices/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/slices.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        options=options("field", "deformation", "grid", "slices"),
        code=code_of("slices"),
    message:
        "Cut the density images of shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/slices.py --archive {input.archive} --store {output.store}'
        " --options {params.options:q} 2>&1 | tee {log}"


# Other images of the same crystals (ablation.images), for the series of that name; the study does not depend on them.
rule images:
    input:
        archive=rules.ingest.output.store,
        plan=manifest,
    output:
        **shard_files(f"{ROOT}/images/{{images}}/{{shard}}.npz"),
    log:
        f"{LOGS}/images/{{images}}/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/images.{{images}}.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        options=image_options,
        code=code_of("slices"),
    message:
        "Cut the images {wildcards.images} of shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/slices.py --archive {input.archive} --store {output.store}'
        " --options {params.options:q} 2>&1 | tee {log}"


rule describe:
    input:
        archive=rules.ingest.output.store,
        plan=manifest,
        given=given_texts,
    output:
        **shard_files(f"{ROOT}/text/{{shard}}.jsonl"),
    log:
        f"{LOGS}/describe/{{shard}}.log",
    benchmark:
        f"{LOGS}/benchmark/describe.{{shard}}.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        given="--given" if GIVEN_TEXTS else "",
        options=options("text"),
        code=code_of("describe"),
    message:
        "Describe the crystals of shard {wildcards.shard}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/describe.py --archive {input.archive} --store {output.store} {params.given} {input.given}'
        " --options {params.options:q} 2>&1 | tee {log}"


# What is published names the source's files without the absolute folder that they lie in here.
FOLDER = getattr(STUDY.source, "path", None) or getattr(STUDY.source, "folder", None)
WITHOUT = ["--folder", str(FOLDER)] if FOLDER and FOLDER.is_absolute() else []


# Study-wide and small. The fences feed `views` only: images and texts of other shards never wait for them.
rule clean:
    input:
        expand("{store}{suffix}", store=shard_stores(), suffix=SIDECARS[1:]),
        catalog=rules.catalog.output,
        frozen=f"datasets/{STUDY.dataset_version}.json" if STUDY.dataset_version else [],
    output:
        kept=f"{ROOT}/dataset/kept.csv",
        rejected=f"{ROOT}/dataset/rejected.csv",
        fences=f"{ROOT}/dataset/fences.json",
        targets=f"{ROOT}/dataset/targets.parquet",
    log:
        f"{LOGS}/clean.log",
    benchmark:
        f"{LOGS}/benchmark/clean.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        root=root,
        without=WITHOUT,
        options=options("clean", "properties", "targets", "dataset_version"),
        code=code_of("clean"),
    message:
        "Keep or reject each material"
    shell:
        'python "$RHOFLOW_SCRIPTS"/clean.py --root {params.root} {params.without:q}'
        " --options {params.options:q} > {log} 2>&1"


rule splits:
    input:
        rules.clean.output.kept,
    output:
        f"{ROOT}/dataset/splits.json",
    log:
        f"{LOGS}/splits.log",
    benchmark:
        f"{LOGS}/benchmark/splits.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        root=root,
        options=options("splits"),
        code=code_of("splits"),
    message:
        "Split: {STUDY.splits.strategy}, {STUDY.splits.folds} folds, repeats: {STUDY.splits.repeats}"
    shell:
        'python "$RHOFLOW_SCRIPTS"/splits.py --root {params.root} --options {params.options:q} > {log} 2>&1'


rule leakage:
    input:
        contents(),
        kept=rules.clean.output.kept,
        splits=rules.splits.output,
    output:
        f"{ROOT}/dataset/leakage.json",
    log:
        f"{LOGS}/leakage.log",
    benchmark:
        f"{LOGS}/benchmark/leakage.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        root=root,
        images=list(STUDY.ablation.images),
        code=code_of("leakage"),
    message:
        "Check that nothing leaks between training and test"
    shell:
        'python "$RHOFLOW_SCRIPTS"/leakage.py --root {params.root} --images {params.images} > {log} 2>&1'


# A checkpoint: a training reruns only if the digest of what it sees has changed.
checkpoint views:
    input:
        contents(),
        kept=rules.clean.output.kept,
        targets=rules.clean.output.targets,
        splits=rules.splits.output,
        leakage=rules.leakage.output,
    output:
        expand(
            f"{ROOT}/views/{{target}}.{{level}}.{{fold}}.json",
            target=STUDY.targets,
            level=[*VIEWS, *IMAGE_VIEWS],
            fold=STUDY.splits.indices,
        ),
    log:
        f"{LOGS}/views.log",
    benchmark:
        f"{LOGS}/benchmark/views.tsv"
    conda:
        "../envs/rhoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        root=root,
        levels=[*VIEWS, *IMAGE_VIEWS],
        options=options("properties", "targets", "splits"),
        code=code_of("views"),
    message:
        "Digest what each training sees"
    shell:
        'python "$RHOFLOW_SCRIPTS"/views.py --root {params.root} --levels {params.levels}'
        " --options {params.options:q} > {log} 2>&1"
