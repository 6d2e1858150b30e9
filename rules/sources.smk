"""Download the sources (resources/sources.tsv) and clean them: data/{name}/clean/{source}/."""

from plm_scaling.sources import STAGE_VERSION as SOURCES_VERSION


# A new release, address or checksum fetches a file again.
rule fetch_source:
    output:
        "data/raw/{file}",
    log:
        "logs/sources/fetch.{file}.log",
    benchmark:
        "logs/benchmarks/sources/fetch.{file}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(2880),
    params:
        script=script("fetch_source"),
        table=SOURCE_TABLE,
        facts=lambda wildcards: RAW[wildcards.file].facts,
    shell:
        "python {params.script:q} --table {params.table:q} --file {wildcards.file:q}"
        " --out {output:q} --log {log:q}"


# A fetch has verified its file; this is for one that was put there by hand.
rule verify_source:
    input:
        "data/raw/{file}",
    output:
        update("data/raw/.{file}.verified.json"),
    log:
        "logs/sources/verify.{file}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(600),
    params:
        script=script("verify_source"),
        table=SOURCE_TABLE,
        facts=lambda wildcards: RAW[wildcards.file].facts,
    shell:
        "python {params.script:q} --table {params.table:q} --file {wildcards.file:q}"
        " --raw {input:q} --log {log:q}"


# Files of this machine stay where they are. A checkpoint, since of what takes its record as `ancient`
# Snakemake would run nothing in the same run, whatever else is missing.
checkpoint verify_files:
    input:
        local_files,
    output:
        f"{DATA}/clean/{{source}}.{{digest}}.verified.json",
    log:
        f"logs/{CONFIG.data.name}/verify/{{source}}.{{digest}}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(600),
    params:
        script=script("verify_files"),
        table=SOURCE_TABLE,
        row=row_of,
        checksum=lambda wildcards: SOURCE[wildcards.source].checksum,
        state=state,
    shell:
        "python {params.script:q} --table {params.table:q} --source {params.row:q}"
        " --files {input:q} --out {output:q} --log {log:q}"


rule clean_source:
    input:
        verified,
        raw=raw_files,
    output:
        f"{DATA}/clean/{{source}}/counts.tsv",
    log:
        f"logs/{CONFIG.data.name}/clean/{{source}}.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.data.name}/clean/{{source}}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(1440),
    params:
        script=script("clean_source"),
        table=SOURCE_TABLE,
        folder=subpath(output[0], parent=True),
        row=row_of,
        reading=reading,
        parts=CONFIG.data.parts,
        max_rejected_fraction=CONFIG.data.max_rejected_fraction,
        stage=SOURCES_VERSION,
    shell:
        "python {params.script:q} --table {params.table:q} --source {params.row:q}"
        " --raw {input.raw:q} --parts {params.parts}"
        " --max-rejected-fraction {params.max_rejected_fraction}"
        " --out {params.folder:q} --log {log:q}"
