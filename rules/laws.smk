"""Fit every law to every objective, and draw: from only a runs table, without data or models."""

from plm_scaling.figures import STAGE_VERSION as FIGURES_VERSION
from plm_scaling.laws import STAGE_VERSION as LAWS_VERSION
from plm_scaling.study import laws as registry

TRANSFERRED = {cell.objective for cell in CELLS.values() if cell.init_from}
LAWS = [
    f"{{results}}/laws/{objective}.{law}.json"
    for objective, law in registry.fitted(CONFIG.laws.fits, CONFIG.sweep.objectives, TRANSFERRED)
]

FORMATS = ["svg", "pdf", "png", "csv"]  # of every figure


rule fit_law:
    input:
        runs="{results}/runs.csv",
        curves="{results}/curves.parquet",
    output:
        "{results}/laws/{objective}.{law}.json",
    log:
        "logs/{results}/fit_law.{objective}.{law}.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("fit_law"),
        study=lambda wildcards: wildcards.results.split("/")[1],
        bootstrap=CONFIG.laws.bootstrap,
        level=CONFIG.laws.level,
        huber_delta=CONFIG.laws.huber_delta,
        axes=CONFIG.laws.axes,
        seed=CONFIG.seed,
        stage=LAWS_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} python {params.script:q} --law {wildcards.law}"
        " --objective {wildcards.objective}"
        " --study {params.study:q} --runs {input.runs:q} --curves {input.curves:q}"
        " --bootstrap {params.bootstrap} --level {params.level} --seed {params.seed}"
        " --huber-delta {params.huber_delta} --axes {params.axes} --out {output:q} --log {log:q}"
