"""Forecasts, which training writes before a cell starts, beside what came of them."""

from plm_scaling.forecasts import STAGE_VERSION as FORECASTS_VERSION


rule collect_forecasts:
    input:
        runs="{results}/runs.csv",
        curves="{results}/curves.parquet",
    output:
        "{results}/forecasts.csv",
    log:
        "logs/{results}/collect_forecasts.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("collect_forecasts"),
        folder=f"{RESULTS}/forecasts",
        stage=FORECASTS_VERSION,
    shell:
        "python {params.script:q} --forecasts {params.folder:q} --runs {input.runs:q}"
        " --curves {input.curves:q} --out {output:q} --log {log:q}"
