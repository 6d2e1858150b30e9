"""Pack the selected sequences into Arrow shards, part by part, and list them in a manifest.

Only a clean split gets into a manifest.
"""

from plm_scaling.tokens import STAGE_VERSION as TOKENS_VERSION

TOKENS = f"{DATA}/tokens/{{kind}}/part-{{part}}/part.json"
# Nothing where there is none: the text of the command decides whether finished tokens are written again.
START_TOKEN = " --start-token" if CONFIG.tokens.start_token else ""
SELECTION = {"protein": SELECTED[0], "code": SELECTED_CODE}


rule tokenize_part:
    input:
        by_kind(SELECTION),
    output:
        TOKENS,
    log:
        f"logs/{CONFIG.data.name}/tokenize/{{kind}}.{{part}}.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/tokenize/{{kind}}.{{part}}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(240),
    params:
        script=script("tokenize_part"),
        pool=f"{DATA}/pool/{{kind}}",
        selected=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        corpus=CONFIG.data.name,
        context_length=CONFIG.tokens.context_length,
        shard_rows=CONFIG.tokens.shard_rows,
        stage=TOKENS_VERSION,
    shell:
        "python {params.script:q} --pool {params.pool:q} --selected {params.selected:q}"
        " --part $((10#{wildcards.part})) --corpus {params.corpus:q}"
        " --context-length {params.context_length} --shard-rows {params.shard_rows}"
        " --out {params.folder:q} --log {log:q}"
        f"{START_TOKEN}"


rule merge_tokens:
    input:
        expand(TOKENS, kind=KINDS, part=PARTS),
        contamination=f"{DATA}/contamination.json",
        thresholds=f"{DATA}/filter/thresholds.json",
    output:
        f"{DATA}/tokens/manifest.json",
    log:
        f"logs/{CONFIG.data.name}/merge_tokens.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        script=script("merge_tokens"),
        folder=subpath(output[0], parent=True),
        stage=TOKENS_VERSION,
    shell:
        "python {params.script:q} --tokens {params.folder:q}"
        " --contamination {input.contamination:q} --thresholds {input.thresholds:q}"
        " --out {output:q} --log {log:q}"
