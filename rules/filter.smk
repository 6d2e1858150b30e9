"""Score every sequence once, then select by thresholds: a new threshold re-scores nothing."""

from plm_scaling.filter import STAGE_VERSION as FILTER_VERSION

SELECTED = multiext(
    f"{DATA}/filter/",
    "kept.parquet",
    "dropped.parquet",
    "thresholds.json",
    "counts.tsv",
)


rule score_sequences:
    input:
        SPLIT,
    output:
        model=f"{DATA}/scores/model.npz",
        scores=f"{DATA}/scores/scores.parquet",
    log:
        f"logs/{CORPUS}/score_sequences.log",
    benchmark:
        f"logs/benchmarks/{CORPUS}/score_sequences.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=4000,
        runtime=1440,
    params:
        script=script("score_sequences"),
        split=subpath(input[0], parent=True),
        reference_source=CONFIG.filter.reference_source,
        order=CONFIG.filter.ngram_order,
        stage=FILTER_VERSION,
    shell:
        "python {params.script:q} --split {params.split:q} --reference-source {params.reference_source:q}"
        " --order {params.order} --out-model {output.model:q} --out {output.scores:q} --log {log:q}"


rule select_sequences:
    input:
        SPLIT,
        scores=f"{DATA}/scores/scores.parquet",
    output:
        SELECTED,
    log:
        f"logs/{CORPUS}/select_sequences.log",
    benchmark:
        f"logs/benchmarks/{CORPUS}/select_sequences.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    resources:
        mem_mb=8000,
        runtime=720,
    params:
        script=script("select_sequences"),
        split=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        mmseqs=CONFIG.mmseqs.path,
        min_length=CONFIG.filter.min_length,
        max_length=CONFIG.filter.max_length,
        max_unknown_fraction=CONFIG.filter.max_unknown_fraction,
        min_distinct_3mer_ratio=CONFIG.filter.min_distinct_3mer_ratio,
        perplexity_quantiles=CONFIG.filter.perplexity_quantiles,
        stage=FILTER_VERSION,
    shell:
        "python {params.script:q} --scores {input.scores:q} --split {params.split:q}"
        " --min-length {params.min_length} --max-length {params.max_length}"
        " --max-unknown-fraction {params.max_unknown_fraction}"
        " --min-distinct-3mer-ratio {params.min_distinct_3mer_ratio}"
        " --perplexity-quantiles {params.perplexity_quantiles} --mmseqs {params.mmseqs:q}"
        " --out {params.folder:q} --log {log:q}"
