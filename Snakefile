"""Protein sequences to scaling laws.

Targets: all (the study's report), download, data, plan, train, next_stage (placed now, by what has
ended), laws, downstream (scores of the cells on benchmarks), report, published (the laws of Cheng et
al. 2024 from their released logs). Rules are in rules/, one file per stage; what is computed comes
from the config, how it is run from a profile.
"""

import atexit
import gc
import os
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.0")

# Planning makes millions of objects, and none that only a collection could free; the last one, when
# Python ends, would take a fifth of a dry run's time. Snakemake's files and locks do not wait for it.
gc.set_threshold(1_000_000)
atexit.register(gc.freeze)

# Not workflow.basedir: another workflow may take this one as a module.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
sys.path.insert(0, str(ROOT / "src"))  # this repository's library, whichever is installed

# containers/ says how it is built. Snakemake refuses its path if it has blanks.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:

    container: str(ROOT / "containers/plm-scaling.sif")


include: "rules/machine.smk"
include: "rules/common.smk"
include: "rules/source_files.smk"
include: "rules/cells.smk"
include: "rules/supply.smk"
include: "rules/sources.smk"
include: "rules/dedup.smk"
include: "rules/filter.smk"
include: "rules/tokens.smk"
include: "rules/sweep.smk"
include: "rules/stages.smk"
include: "rules/train.smk"
include: "rules/runs.smk"
include: "rules/forecasts.smk"
include: "rules/laws.smk"
include: "rules/evaluated.smk"
include: "rules/downstream.smk"
include: "rules/report.smk"
include: "rules/published.smk"


if workflow.is_main_process:
    if MADE_OF:
        logger.info(MADE_OF)
    if not workflow.output_settings.show_failed_logs:
        say_failures_in_a_line(logger, Path(), printed=lambda: not workflow.non_local_exec)


SITE = SiteRules(workflow, counted=["train_cell"])
record_in_jobs(workflow)


onstart:
    logger.addHandler(JobEvents(JOB_EVENTS, workflow.dag))
    needed = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "train_cell"]
    made_now = any(job.rule.name == "merge_tokens" for job in workflow.dag.needrun_jobs())
    try:
        check_machine({job.wildcards.cell: LAYOUTS[job.wildcards.cell] for job in needed})
        if needed and made_now:
            logger.addHandler(WhenTokensAreMade())
        elif needed:
            check_cells(made_tokens(MANIFEST), [CELLS[job.wildcards.cell] for job in needed])
        if may_train():
            write_schedule()
        if workflow.non_local_exec:
            SITE.check_jobs([asked_by(cell, 1) for cell in CELLS] if STAGES_LEFT else [])
            given = workflow.config_settings.config_args
            check_submission([ROOT, os.getcwd(), *workflow.configfiles, *given])
    except PlmScalingError as error:
        sys.exit(f"error: {error}")


TARGETS = {
    "all": [STAGED, rules.make_report.output],
    "download": [
        *expand(rules.verify_source.output, file=RAW),
        *map(record_of, LOCAL),
        files_of_tests,
    ],
    "data": [
        rules.merge_tokens.output,
        rules.check_contamination.output,
        rules.draw_data_figures.output,
    ],
    "train": [f"{RESULTS}/sweep.tsv", STAGED or trained],
    "next_stage": expand(f"{RESULTS}/stages/{{stage}}.json", stage=STAGES_LEFT[:1]),
    "laws": expand(
        [*LAWS, rules.collect_forecasts.output[0], *rules.draw_figures.output], results=LAWS_FROM
    ),
    "downstream": [*rules.collect_downstream.output, *rules.draw_downstream.output],
    "report": [STAGED, rules.make_report.output],
    "published": rules.make_published_report.output,
}

for target, files in TARGETS.items():

    rule:
        name:
            target
        default_target: target == "all"
        input:
            files,
        localrule: True
