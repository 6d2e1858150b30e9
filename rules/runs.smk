"""Collect the runs into tables: of the whole sweep, or of what has finished so far."""

from plm_scaling.runs import STAGE_VERSION as RUNS_VERSION

# While cells are missing, `snakemake laws` reads those that exist, in a folder of its own, so that a
# half-finished sweep is not taken for the whole.
SO_FAR = f"{RESULTS}/so-far"
COMPLETE = not STAGES_LEFT and all(map(os.path.exists, records_of(CELLS)))
LAWS_FROM = RESULTS if COMPLETE else SO_FAR


rule collect_runs:
    input:
        sweep=f"{RESULTS}/sweep.tsv",
        records=records,
    output:
        runs=f"{RESULTS}/runs.csv",
        curves=f"{RESULTS}/curves.parquet",
        evaluations=f"{RESULTS}/evaluations.csv",
    log:
        f"logs/{CONFIG.study}/collect_runs.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("collect_runs"),
        folder=lambda wildcards, input: os.path.join(os.path.dirname(input.sweep), "runs"),
        final_evaluations=CONFIG.runs.final_evaluations,
        stage=RUNS_VERSION,
    shell:
        "python {params.script:q} --sweep {input.sweep:q} --runs {params.folder:q}"
        " --final-evaluations {params.final_evaluations} --out-runs {output.runs:q}"
        " --out-curves {output.curves:q} --out-evaluations {output.evaluations:q} --log {log:q}"


use rule collect_runs as collect_finished_runs with:
    input:
        sweep=f"{RESULTS}/sweep.tsv",
        records=lambda wildcards: as_they_are(filter(os.path.exists, records_of(CELLS))),
    output:
        runs=f"{SO_FAR}/runs.csv",
        curves=f"{SO_FAR}/curves.parquet",
        evaluations=f"{SO_FAR}/evaluations.csv",
    log:
        f"logs/{CONFIG.study}/collect_finished_runs.log",
