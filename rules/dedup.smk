"""Deduplicate at the config's identity, split by cluster, and check that the split is clean."""

from plm_scaling.dedup import STAGE_VERSION as DEDUP_VERSION

# The programs make each folder as a whole; its tables stand for the MMseqs2 databases beside them.
DEDUPED = multiext(f"{DATA}/dedup/", "clusters.parquet", "counts.tsv", "tool.json")
SPLIT = multiext(f"{DATA}/split/", "assignment.parquet", "counts.tsv", "splits.tsv", "tool.json")


rule deduplicate:
    input:
        expand("data/clean/{source}.fasta", source=SOURCES),
    output:
        DEDUPED,
    log:
        f"logs/{CORPUS}/deduplicate.log",
    benchmark:
        f"logs/benchmarks/{CORPUS}/deduplicate.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=lambda wildcards, input: max(2000, 20 * int(input.size_mb)),
        runtime=1440,
    params:
        script=script("deduplicate"),
        folder=subpath(output[0], parent=True),
        sources=SOURCES,
        mmseqs=CONFIG.mmseqs.path,
        min_seq_id=CONFIG.dedup.min_seq_id,
        coverage=CONFIG.dedup.coverage,
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --fasta {input:q} --sources {params.sources:q}"
        " --min-seq-id {params.min_seq_id} --coverage {params.coverage} --threads {threads}"
        " --mmseqs {params.mmseqs:q} --out {params.folder:q} --log {log:q}"


rule split_clusters:
    input:
        DEDUPED,
    output:
        SPLIT,
    log:
        f"logs/{CORPUS}/split_clusters.log",
    benchmark:
        f"logs/benchmarks/{CORPUS}/split_clusters.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=lambda wildcards, input: max(4000, 20 * int(input.size_mb)),
        runtime=2880,
    params:
        script=script("split_clusters"),
        dedup=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        mmseqs=CONFIG.mmseqs.path,
        min_seq_id=CONFIG.split.min_seq_id,
        coverage=CONFIG.split.coverage,
        valid_fraction=CONFIG.split.valid_fraction,
        reference_fraction=CONFIG.split.reference_fraction,
        reference_source=CONFIG.filter.reference_source,
        sensitivity=CONFIG.split.sensitivity,
        seed=CONFIG.seed,
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --dedup {params.dedup:q} --min-seq-id {params.min_seq_id}"
        " --coverage {params.coverage} --valid-fraction {params.valid_fraction}"
        " --reference-fraction {params.reference_fraction}"
        " --reference-source {params.reference_source:q} --sensitivity {params.sensitivity}"
        " --seed {params.seed} --threads {threads} --mmseqs {params.mmseqs:q}"
        " --out {params.folder:q} --log {log:q}"


rule check_contamination:
    input:
        SPLIT,
    output:
        f"{DATA}/contamination.json",
    log:
        f"logs/{CORPUS}/check_contamination.log",
    benchmark:
        f"logs/benchmarks/{CORPUS}/check_contamination.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=lambda wildcards, input: max(4000, 20 * int(input.size_mb)),
        runtime=2880,
    params:
        script=script("check_contamination"),
        split=subpath(input[0], parent=True),
        mmseqs=CONFIG.mmseqs.path,
        min_seq_id=CONFIG.split.min_seq_id,
        coverage=CONFIG.split.coverage,
        sensitivity=CONFIG.split.sensitivity,
        stage=DEDUP_VERSION,
    shell:
        "python {params.script:q} --split {params.split:q} --min-seq-id {params.min_seq_id}"
        " --coverage {params.coverage} --sensitivity {params.sensitivity} --threads {threads}"
        " --mmseqs {params.mmseqs:q} --out {output:q} --log {log:q}"
