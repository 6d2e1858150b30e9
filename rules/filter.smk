"""Score every sequence once, then select by thresholds: a new threshold re-scores nothing."""

from plm_scaling.filter import STAGE_VERSION as FILTER_VERSION

SCORES = f"{DATA}/scores/part-{{part}}.parquet"
FILTER_TABLES = ["counts.tsv", "thresholds.json", "perplexity.tsv", "examples.tsv", "overlap.tsv"]
SELECTED = multiext(f"{DATA}/filter/", *FILTER_TABLES)
SELECTED_CODE = f"{DATA}/filter_code/counts.tsv"
NGRAM = f"{DATA}/scores/model.npz"
OWN_MODEL = CONFIG.filter.model != "ngram"
# What says that a model is all there: of a run, or of a public model.
MODEL_FILES = [f"{CONFIG.filter.model}/{name}" for name in ("result.json", "config.json")]
ON_ONE_GPU = "python -m plm_scaling.common.devices 1"  # where there are GPUs


rule train_reference:
    input:
        SPLIT,
    output:
        NGRAM,
    log:
        f"logs/{CONFIG.data.name}/train_reference.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/train_reference.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(720),
    params:
        script=script("train_reference"),
        pool=f"{DATA}/pool/protein",
        split=subpath(input[0], parent=True),
        reference_source=CONFIG.filter.reference_source,
        order=CONFIG.filter.ngram_order,
        stage=FILTER_VERSION,
    shell:
        "python {params.script:q} --pool {params.pool:q} --split {params.split:q}"
        " --order {params.order} --reference-source {params.reference_source:q}"
        " --out {output:q} --log {log:q}"


rule score_part:
    input:
        SPLIT,
        model=next(filter(os.path.exists, MODEL_FILES), MODEL_FILES[0]) if OWN_MODEL else NGRAM,
    output:
        SCORES,
    log:
        f"logs/{CONFIG.data.name}/score/{{part}}.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/score/{{part}}.tsv"
    conda:
        "../envs/train-gpu.yaml" if OWN_MODEL else "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(1440),
        # On a box as many parts at a time as GPUs; elsewhere which partition has some is not known.
        gpu=1 if OWN_MODEL and is_box(MACHINE) else None,
    params:
        script=script("score_part"),
        pool=f"{DATA}/pool/protein",
        split=subpath(input[0], parent=True),
        model=inspected(lambda wildcards, input: CONFIG.filter.model if OWN_MODEL else input.model),
        start=f"{ON_ONE_GPU} python" if OWN_MODEL else "python",
        stage=FILTER_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} {params.start} {params.script:q} --pool {params.pool:q}"
        " --split {params.split:q} --part $((10#{wildcards.part})) --model {params.model:q}"
        " --threads {threads} --out {output:q} --log {log:q}"


rule select_sequences:
    input:
        expand(SCORES, part=PARTS),
    output:
        SELECTED,
    log:
        f"logs/{CONFIG.data.name}/select_sequences.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/select_sequences.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(720),
    params:
        script=script("select_sequences"),
        pool=f"{DATA}/pool/protein",
        split=f"{DATA}/split",
        scores=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        mmseqs=CONFIG.mmseqs.path,
        settings=settings(CONFIG.filter, Thresholds),
        stage=FILTER_VERSION,
    shell:
        "python {params.script:q} --pool {params.pool:q} --split {params.split:q}"
        " --scores {params.scores:q} --settings {params.settings:q} --mmseqs {params.mmseqs:q}"
        " --out {params.folder:q} --log {log:q}"


rule select_documents:
    input:
        expand(POOL, kind="code", part=PARTS),
    output:
        SELECTED_CODE,
    log:
        f"logs/{CONFIG.data.name}/select_documents.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/select_documents.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        script=script("select_documents"),
        pool=subpath(input[0], ancestor=2),
        folder=subpath(output[0], parent=True),
        valid_fraction=CONFIG.split.valid_fraction,
        seed=CONFIG.seed,
        stage=FILTER_VERSION,
    shell:
        "python {params.script:q} --pool {params.pool:q}"
        " --valid-fraction {params.valid_fraction} --seed {params.seed}"
        " --out {params.folder:q} --log {log:q}"
