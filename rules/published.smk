"""The study's released logs, as their tables ship or from published.logs → results/published/."""

from plm_scaling.cheng2024 import FIGURES as PUBLISHED_FIGURES
from plm_scaling.config.schema import DOWNLOAD

PUBLISHED = "results/published"
PUBLISHED_FILES = ROOT / "resources/published/files.tsv"
PUBLISHED_ARCHIVE = ROOT / "resources/published/archive.tsv"
MINIMA = ROOT / "resources/published/minima.tsv"
CONSTANTS = ROOT / "resources/published/constants.tsv"
ASSAYS = ROOT / "resources/downstream/proteingym_assays.tsv"
PUBLISHED_TABLES = ROOT / "resources/published/tables"


rule fetch_published:
    output:
        directory("data/raw/published_logs"),
    log:
        "logs/published/fetch.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        script=script("fetch_published"),
        archives=PUBLISHED_ARCHIVE,
        files=PUBLISHED_FILES,
        sha256=[sha256_of(PUBLISHED_ARCHIVE), sha256_of(PUBLISHED_FILES)],
    shell:
        "python {params.script:q} --archives {params.archives:q} --files {params.files:q}"
        " --out {output:q} --log {log:q}"


rule import_published:
    input:
        fetched=rules.fetch_published.output if CONFIG.published.logs == DOWNLOAD else [],
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
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("import_published"),
        logs=lambda wildcards, input: (
            ["--logs", str(input.fetched or ROOT / CONFIG.published.logs)]
            if CONFIG.published.logs
            else []  # the tables that ship
        ),
        source=CONFIG.published.logs or "",  # recorded, so that naming the logs makes the tables again
        # A folder's logs are verified against the list of files, so it stands for them.
        sha256=[sha256_of(path) for path in (PUBLISHED_FILES, *sorted(PUBLISHED_TABLES.iterdir()))],
        stage=RUNS_VERSION,
    shell:
        "python {params.script:q} {params.logs:q} --out-runs {output.runs:q}"
        " --out-curves {output.curves:q} --out-audit {output.audit:q}"
        " --out-notebook {output.notebook:q} --log {log:q}"


# The logs do not say with which rate and batch a run was trained.
FITTING = [name for name, law in registry.LAWS.items() if not law.of_settings]
PUBLISHED_LAWS = [
    f"{PUBLISHED}/laws/{objective}.{law}.json"
    for objective, law in registry.fitted(FITTING, ["clm", "mlm"], ["clm", "mlm"])
]


ruleorder: fit_published_law > fit_law
ruleorder: draw_published_figures > draw_figures
ruleorder: forecast_published > collect_forecasts


rule fit_published_law:
    input:
        runs=rules.import_published.output.runs,
        curves=rules.import_published.output.curves,
        notebook=rules.import_published.output.notebook,
    output:
        f"{PUBLISHED}/laws/{{objective}}.{{law}}.json",
    log:
        "logs/published/fit_law.{objective}.{law}.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("fit_published_law"),
        minima=MINIMA,
        minima_sha256=sha256_of(MINIMA),
        bootstrap=CONFIG.laws.bootstrap,
        level=CONFIG.laws.level,
        huber_delta=CONFIG.laws.huber_delta,
        held_out_above=1.2e21,  # beyond the IsoFLOP budgets: the few runs of largest compute are predicted
        seed=CONFIG.seed,
        stage=LAWS_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} python {params.script:q} --law {wildcards.law}"
        " --objective {wildcards.objective}"
        " --study published --runs {input.runs:q} --curves {input.curves:q}"
        " --notebook {input.notebook:q} --minima {params.minima:q}"
        " --held-out-above {params.held_out_above} --bootstrap {params.bootstrap}"
        " --level {params.level} --seed {params.seed} --huber-delta {params.huber_delta}"
        " --out {output:q} --log {log:q}"


rule forecast_published:
    input:
        runs=rules.import_published.output.runs,
        curves=rules.import_published.output.curves,
    output:
        f"{PUBLISHED}/forecasts.csv",
    log:
        "logs/published/forecast.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("forecast_published"),
        huber_delta=CONFIG.laws.huber_delta,
        stage=FORECASTS_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} python {params.script:q} --runs {input.runs:q}"
        " --curves {input.curves:q} --huber-delta {params.huber_delta} --out {output:q} --log {log:q}"


rule draw_published_figures:
    input:
        runs=rules.import_published.output.runs,
        curves=rules.import_published.output.curves,
        laws=PUBLISHED_LAWS,
        forecasts=rules.forecast_published.output,
    output:
        expand(f"{PUBLISHED}/figures/{{name}}.{{format}}", name=PUBLISHED_FIGURES, format=FORMATS),
    log:
        "logs/published/draw_figures.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("draw_published_figures"),
        released=RELEASED,
        assays=ASSAYS,
        sha256=[sha256_of(RELEASED), sha256_of(ASSAYS)],
        names=PUBLISHED_FIGURES,
        folder=subpath(output[0], parent=True),
        stage=FIGURES_VERSION,
    shell:
        "python {params.script:q} --runs {input.runs:q} --curves {input.curves:q}"
        " --laws {input.laws:q} --forecasts {input.forecasts:q}"
        " --released {params.released:q} --assays {params.assays:q} --only {params.names:q}"
        " --out {params.folder:q} --log {log:q}"


rule make_published_report:
    input:
        runs=rules.import_published.output.runs,
        audit=rules.import_published.output.audit,
        laws=PUBLISHED_LAWS,
        forecasts=rules.forecast_published.output,
        figures=rules.draw_published_figures.output,
    output:
        report=f"{PUBLISHED}/report.html",
        constants=f"{PUBLISHED}/constants.csv",
    log:
        "logs/published/make_report.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("make_published_report"),
        constants=CONSTANTS,
        released=RELEASED,
        assays=ASSAYS,
        sha256=[sha256_of(path) for path in (CONSTANTS, RELEASED, ASSAYS)],
        folder=lambda wildcards, input: os.path.dirname(input.figures[0]),
        stage=REPORT_VERSION,
    shell:
        "python {params.script:q} --runs {input.runs:q} --audit {input.audit:q}"
        " --laws {input.laws:q} --forecasts {input.forecasts:q} --figures {params.folder:q}"
        " --constants {params.constants:q} --released {params.released:q} --assays {params.assays:q}"
        " --out {output.report:q} --log {log:q}"
