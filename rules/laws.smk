"""Fit every law to every objective, and draw: from a runs table alone, without data or models."""

from plm_scaling.figures import STAGE_VERSION as FIGURES_VERSION
from plm_scaling.laws import STAGE_VERSION as LAWS_VERSION

LAWS = expand(
    "{{results}}/laws/{objective}.{law}.json",
    objective=CONFIG.sweep.objectives,
    law=CONFIG.laws.fits,
)


rule fit_law:
    input:
        "{results}/runs.csv",
    output:
        "{results}/laws/{objective}.{law}.json",
    log:
        "logs/{results}/fit_law.{objective}.{law}.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        script=script("fit_law"),
        study=CONFIG.study,
        bootstrap=CONFIG.laws.bootstrap,
        level=CONFIG.laws.level,
        huber_delta=CONFIG.laws.huber_delta,
        seed=CONFIG.seed,
        stage=LAWS_VERSION,
    shell:
        "python {params.script:q} --law {wildcards.law} --objective {wildcards.objective}"
        " --study {params.study:q} --runs {input:q} --bootstrap {params.bootstrap}"
        " --level {params.level} --seed {params.seed} --huber-delta {params.huber_delta}"
        " --out {output:q} --log {log:q}"
