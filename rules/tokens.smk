"""Pack the selected sequences into Arrow shards; only a clean split gets this far."""

from plm_scaling.tokens import STAGE_VERSION as TOKENS_VERSION


rule tokenize_corpus:
    input:
        SELECTED,
        contamination=f"{DATA}/contamination.json",
    output:
        f"{DATA}/tokens/manifest.json",  # lists the shards, with their checksums
    log:
        f"logs/{CORPUS}/tokenize_corpus.log",
    benchmark:
        f"logs/benchmarks/{CORPUS}/tokenize_corpus.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=720,
    params:
        script=script("tokenize_corpus"),
        selected=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        corpus=CORPUS,
        context_length=CONFIG.tokens.context_length,
        shard_rows=CONFIG.tokens.shard_rows,
        seed=CONFIG.seed,
        stage=TOKENS_VERSION,
    shell:
        "python {params.script:q} --filter {params.selected:q}"
        " --contamination {input.contamination:q} --corpus {params.corpus:q}"
        " --context-length {params.context_length} --shard-rows {params.shard_rows}"
        " --seed {params.seed} --out {params.folder:q} --log {log:q}"
