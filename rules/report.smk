"""The study's figures and its report page, also from the runs that have finished so far."""

from plm_scaling.figures import DATA_FIGURES, run_figures
from plm_scaling.report import STAGE_VERSION as REPORT_VERSION

COUNTS = [
    *expand(CLEAN, source=CONFIG.sources),
    *expand(f"{DATA}/{{stage}}/counts.tsv", stage=["dedup", "split", "filter"]),
    *([SELECTED_CODE] if CODE else []),
]


rule record_config:
    output:
        f"{RESULTS}/config.yaml",
    log:
        f"logs/{CONFIG.study}/record_config.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("record_config"),
        # Another machine is no reason to record again: it is `computed` that runs the rule again.
        config=lambda wildcards, threads: CONFIG.model_dump_json(),
        computed=computed(),
    shell:
        "python {params.script:q} --config {params.config:q} --out {output:q} --log {log:q}"


# Of the config, since cells of later stages are not known yet.
SINGLE = [*CONFIG.sweep.extra, *CONFIG.sweep.transfer]
RUN_FIGURES = run_figures(
    CONFIG.laws.fits,
    len({*CONFIG.sweep.corpora, *(cell.corpus for cell in SINGLE)}),
    len({*CONFIG.sweep.recipes, *(cell.recipe for cell in SINGLE)}),
)


rule draw_figures:
    input:
        runs="{results}/runs.csv",
        curves="{results}/curves.parquet",
        evaluations="{results}/evaluations.csv",
        forecasts="{results}/forecasts.csv",
        laws=LAWS,
    output:
        expand("{{results}}/figures/{name}.{format}", name=RUN_FIGURES, format=FORMATS),
    log:
        "logs/{results}/draw_figures.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("draw_figures"),
        names=RUN_FIGURES,
        folder=subpath(output[0], parent=True),
        stage=FIGURES_VERSION,
    shell:
        "python {params.script:q} --runs {input.runs:q} --curves {input.curves:q}"
        " --evaluations {input.evaluations:q} --forecasts {input.forecasts:q}"
        " --laws {input.laws:q} --only {params.names:q} --out {params.folder:q} --log {log:q}"


rule draw_data_figures:
    input:
        counts=COUNTS,
        filter=SELECTED,
    output:
        expand(f"{RESULTS}/figures/{{name}}.{{format}}", name=DATA_FIGURES, format=FORMATS),
    log:
        f"logs/{CONFIG.study}/draw_data_figures.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        script=script("draw_figures"),
        filter=lambda wildcards, input: os.path.dirname(input.filter[0]),
        folder=subpath(output[0], parent=True),
        stage=FIGURES_VERSION,
    shell:
        "python {params.script:q} --counts {input.counts:q} --filter {params.filter:q}"
        " --out {params.folder:q} --log {log:q}"


rule make_report:
    input:
        config=f"{RESULTS}/config.yaml",
        runs=f"{RESULTS}/runs.csv",
        laws=expand(LAWS, results=RESULTS),
        forecasts=f"{RESULTS}/forecasts.csv",
        figures=rules.draw_data_figures.output,
        run_figures=expand(rules.draw_figures.output, results=RESULTS),
        counts=COUNTS,
        examples=f"{DATA}/filter/examples.tsv",
        contamination=f"{DATA}/contamination.json",
        leakage=f"{DATA}/leakage.tsv",
        manifest=f"{DATA}/tokens/manifest.json",
        tool=f"{DATA}/dedup/tool.json",
        scores=scores_there_are("scores"),
        score_laws=scores_there_are("laws"),
        score_figures=scores_there_are("figures"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"logs/{CONFIG.study}/make_report.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("make_report"),
        study=CONFIG.study,
        sources=SOURCE_TABLE,
        sources_sha256=sha256_of(SOURCE_TABLE),
        own=json.dumps(OWN, default=str),
        reference=ROOT / "resources/published/reference.json",
        folder=lambda wildcards, input: os.path.dirname(input.figures[0]),
        records=lambda wildcards, input: os.path.join(os.path.dirname(input.runs), "runs"),
        stages=lambda wildcards: ["--stages", f"{RESULTS}/stages"] if CONFIG.sweep.stages else [],
        stage=REPORT_VERSION,
    shell:
        "python {params.script:q} --study {params.study:q} --config {input.config:q}"
        " --runs {input.runs:q} --laws {input.laws:q} --forecasts {input.forecasts:q}"
        " --figures {params.folder:q} --sources {params.sources:q} --own {params.own:q}"
        " --counts {input.counts:q} --examples {input.examples:q}"
        " --contamination {input.contamination:q} --leakage {input.leakage:q}"
        " --manifest {input.manifest:q} --tool {input.tool:q} --reference {params.reference:q}"
        " --scores {input.scores:q} --score-laws {input.score_laws:q} {params.stages:q}"
        " --records {params.records:q}"
        " --out {output:q} --log {log:q}"
