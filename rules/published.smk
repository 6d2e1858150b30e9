"""The study's released logs (published.logs, or downloaded) → results/published/."""

PUBLISHED = "results/published"
PUBLISHED_FILES = str(ROOT / "resources/published/files.tsv")
PUBLISHED_LOGS = CONFIG.published.logs and str(ROOT / CONFIG.published.logs)


rule fetch_published:
    input:
        archives=str(ROOT / "resources/published/archive.tsv"),
        files=PUBLISHED_FILES,
    output:
        directory("data/raw/published_logs"),
    log:
        "logs/published/fetch.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        script=script("fetch_published"),
    shell:
        "python {params.script:q} --archives {input.archives:q} --files {input.files:q}"
        " --out {output:q} --log {log:q}"


rule import_published:
    input:
        files=PUBLISHED_FILES,  # a folder's logs are verified against it, so it stands for them
        fetched=[] if PUBLISHED_LOGS else rules.fetch_published.output,
    output:
        runs=f"{PUBLISHED}/runs.csv",
        curves=f"{PUBLISHED}/curves.parquet",
        audit=f"{PUBLISHED}/audit.csv",
        notebook=f"{PUBLISHED}/notebook_points.parquet",
    log:
        "logs/published/import.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        script=script("import_published"),
        logs=lambda wildcards, input: PUBLISHED_LOGS or input.fetched,
        stage=RUNS_VERSION,
    shell:
        "python {params.script:q} --logs {params.logs:q} --out-runs {output.runs:q}"
        " --out-curves {output.curves:q} --out-audit {output.audit:q}"
        " --out-notebook {output.notebook:q} --log {log:q}"
