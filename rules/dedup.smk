"""Pool by content, deduplicate, split by cluster, and measure what it leaks.

The programs make each folder as a whole; the tables named here stand for what lies beside them.
"""

from plm_scaling.dedup import STAGE_VERSION as DEDUP_VERSION

POOL = f"{DATA}/pool/{{kind}}/part-{{part}}/part.json"
DEDUPED = multiext(f"{DATA}/dedup/", "counts.tsv", "tool.json")
SPLIT = multiext(f"{DATA}/split/", "counts.tsv", "splits.tsv", "tool.json")
CLEAN = f"{DATA}/clean/{{source}}/counts.tsv"


rule pool_part:
    input:
        by_kind({kind: expand(CLEAN, source=names) for kind, names in KINDS.items()}),
    output:
        POOL,
    log:
        f"logs/{CONFIG.data.name}/pool/{{kind}}.{{part}}.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/pool/{{kind}}.{{part}}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(6000),
        runtime=grows(240),
    params:
        script=script("pool_part"),
        clean=by_kind(
            {kind: [f"{DATA}/clean/{name}" for name in names] for kind, names in KINDS.items()}
        ),
        sources=by_kind(KINDS),
        parts=CONFIG.data.parts,
        folder=subpath(output[0], parent=True),
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --clean {params.clean:q} --sources {params.sources:q}"
        " --part $((10#{wildcards.part})) --parts {params.parts} --kind {wildcards.kind:q}"
        " --out {params.folder:q} --log {log:q}"


rule deduplicate:
    input:
        expand(POOL, kind="protein", part=PARTS),
    output:
        DEDUPED,
    log:
        f"logs/{CONFIG.data.name}/deduplicate.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/deduplicate.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=grows(8000),
        runtime=grows(2880),
    params:
        script=script("deduplicate"),
        pool=subpath(input[0], ancestor=2),
        folder=subpath(output[0], parent=True),
        mmseqs=CONFIG.mmseqs.path,
        settings=settings(CONFIG.dedup, Dedup),
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --pool {params.pool:q} --settings {params.settings:q}"
        " --threads {threads} --memory-mb {resources.mem_mb} --scratch {resources.tmpdir:q}"
        " --mmseqs {params.mmseqs:q} --out {params.folder:q} --log {log:q}"


rule split_clusters:
    input:
        DEDUPED,
        downstream=expand(CLEAN, source=DOWNSTREAM),
    output:
        SPLIT,
    log:
        f"logs/{CONFIG.data.name}/split_clusters.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/split_clusters.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=grows(8000),
        runtime=grows(2880),
    params:
        script=script("split_clusters"),
        pool=f"{DATA}/pool/protein",
        dedup=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        mmseqs=CONFIG.mmseqs.path,
        settings=settings(CONFIG.split, Clusters),
        reference_source=CONFIG.filter.reference_source,
        ood=NEW_SOURCES,
        downstream=[f"{DATA}/clean/{name}" for name in DOWNSTREAM],
        seed=CONFIG.seed,
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --pool {params.pool:q} --dedup {params.dedup:q}"
        " --settings {params.settings:q} --reference-source {params.reference_source:q}"
        " --ood-sources {params.ood:q} --downstream {params.downstream:q} --seed {params.seed}"
        " --threads {threads} --memory-mb {resources.mem_mb} --scratch {resources.tmpdir:q}"
        " --mmseqs {params.mmseqs:q} --out {params.folder:q} --log {log:q}"


rule check_contamination:
    input:
        SPLIT,
    output:
        report=f"{DATA}/contamination.json",
        leakage=f"{DATA}/leakage.tsv",
    log:
        f"logs/{CONFIG.data.name}/check_contamination.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/check_contamination.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=grows(8000),
        runtime=grows(2880),
    params:
        script=script("check_contamination"),
        pool=f"{DATA}/pool/protein",
        split=subpath(input[0], parent=True),
        downstream=[f"{DATA}/clean/{name}" for name in DOWNSTREAM],
        mmseqs=CONFIG.mmseqs.path,
        settings=settings(CONFIG.split, LeakageCheck),
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --split {params.split:q} --pool {params.pool:q}"
        " --downstream {params.downstream:q} --settings {params.settings:q}"
        " --threads {threads} --memory-mb {resources.mem_mb} --scratch {resources.tmpdir:q}"
        " --mmseqs {params.mmseqs:q} --out {output.report:q} --log {log:q}"
