"""Download and clean the sources: resources/sources.tsv → data/clean/{source}.fasta."""

from plm_scaling.sources import STAGE_VERSION as SOURCES_VERSION


rule fetch_source:
    output:
        "data/raw/{source}.fasta.gz",
    log:
        "logs/sources/fetch.{source}.log",
    benchmark:
        "logs/benchmarks/sources/fetch.{source}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=2880,
    params:
        script=script("fetch_source"),
        table=SOURCE_TABLE,
        facts=lambda wildcards: SOURCE_FACTS[wildcards.source],
    shell:
        "python {params.script:q} --table {params.table:q} --source {wildcards.source:q}"
        " --out {output:q} --log {log:q}"


rule clean_source:
    input:
        "data/raw/{source}.fasta.gz",
    output:
        fasta="data/clean/{source}.fasta",
        counts="data/clean/{source}.counts.tsv",
    log:
        "logs/sources/clean.{source}.log",
    benchmark:
        "logs/benchmarks/sources/clean.{source}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=720,
    params:
        script=script("clean_source"),
        stage=SOURCES_VERSION,
    shell:
        "python {params.script:q} --source {wildcards.source:q} --fasta {input:q}"
        " --out {output.fasta:q} --counts {output.counts:q} --log {log:q}"
