"""Shared by all rules: the validated config, the environment of the programs, names of files."""

import inspect
import json
import logging
from dataclasses import replace
from functools import cache

from snakemake.logging import logger
from plm_scaling.common import environment
from plm_scaling.config.data import Clusters, Dedup, LeakageCheck, Thresholds
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.config.load import read_study, validate_config
from plm_scaling.config.submission import check_submission
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import sha256_of
from plm_scaling.common.gpus import visible_gpus
from plm_scaling.common.lock import NAME as LOCK
from plm_scaling.downstream.datasets import (
    EARLIER_TESTS,
    OF_TESTS,
    PREPARED,
    advice,
    chosen_datasets,
    kept_out,
    test_files,
    tests_of,
)
from plm_scaling.forecasts.asked import Asked
from plm_scaling.runs.job_events import FILE as JOB_EVENTS
from plm_scaling.runs.job_events import FINISHED
from plm_scaling.runs.job_events import JobEvents
from plm_scaling.runs.terminal import say_failures_in_a_line
from plm_scaling.slurm.rules import SiteRules
from plm_scaling.sources.local_files import files_of, state_of
from plm_scaling.sources.table import choose, own_source, read_sources
from plm_scaling.sweep.cells import awaited_cells, plan_cells, tuning_only
from plm_scaling.sweep.choose import choose_layouts
from plm_scaling.sweep.launch import (
    beside_others,
    check_box,
    check_launcher,
    launcher,
    processes_per_node,
    resources,
)
from plm_scaling.sweep.order import jobs_in_order, write_estimates
from plm_scaling.sweep.single import extra_cells
from plm_scaling.sweep.stages import budgets_of, read_stages, to_place
from plm_scaling.sweep.supply import check_supply, made_tokens, most_tokens
from plm_scaling.workflow.job_records import record_in_jobs

# Programs are run by the Python that runs Snakemake, or by a conda environment's under --sdm conda;
# both find the library in this repository.
environment.prepare(os.environ, python=Path(sys.executable), library=ROOT / "src")

# The scheduler says these before every job; what a job does, its program says.
logger.addFilter(lambda record: not str(record.msg).startswith(("Select jobs to", "Execute ")))


BENCHMARKS = ROOT / "resources/downstream.tsv"

try:
    # By ourselves: Snakemake would mix the corpora and the sweeps of several files.
    CONFIG, MADE_OF = (
        (validate_config(config, "the module's config"), "")
        if workflow.modifier.skip_configfile  # a module, with the config that it was given
        else read_study(
            workflow.config_settings.configfiles,
            workflow.config_settings.config,
            ROOT / "config.yaml",
        )
    )
    DATA = f"data/{CONFIG.data.name}"
    RESULTS = f"results/{CONFIG.study}"
    STAGES = read_stages(Path(RESULTS, "stages"), CONFIG.sweep)
    CELLS = plan_cells(CONFIG, STAGES)  # stages that are placed meanwhile add to it
    MACHINE = machine_here(CONFIG.machine)
    LAYOUTS = dict(zip(CELLS, choose_layouts(CELLS.values(), CONFIG.machine)))
    SOURCE_TABLE = ROOT / CONFIG.data.table
    OWN = CONFIG.data.own
    KNOWN = read_sources(SOURCE_TABLE) | {name: own_source(name, OWN[name]) for name in OWN}
    OWN_DATASETS = CONFIG.downstream.model_dump()["own"]
    DATASETS = chosen_datasets(BENCHMARKS, OWN_DATASETS, CONFIG.downstream.datasets)
    DOWNSTREAM = kept_out(
        CONFIG.split.downstream,
        DATASETS,
        CONFIG.downstream.datasets,
        Path(DATA),
    )
    TESTS = test_files([name for name in DOWNSTREAM if name not in KNOWN], DATASETS)
    OWN = OWN | {name: {"path": str(file)} for name, file in TESTS.items()}
    KNOWN = KNOWN | {name: own_source(name, OWN[name]) for name in TESTS}
    SOURCE = {name: choose(KNOWN, name, SOURCE_TABLE) for name in [*CONFIG.sources, *DOWNSTREAM]}
except PlmScalingError as error:
    sys.exit(f"error: {error}")

MANIFEST = Path(DATA, "tokens/manifest.json")

PARTS = [f"{number:04d}" for number in range(CONFIG.data.parts)]

PROTEIN = [name for name in CONFIG.sources if SOURCE[name].kind == "protein"]
CODE = [name for name in CONFIG.sources if SOURCE[name].kind == "code"]
NEW_SOURCES = [  # dates are in ISO 8601, so that text compares as days do
    name
    for name in PROTEIN
    if CONFIG.split.ood_after
    and SOURCE[name].released
    and SOURCE[name].released > CONFIG.split.ood_after.isoformat()
]
RAW = {source.file: source for source in SOURCE.values() if not source.path}
LOCAL = [name for name, source in SOURCE.items() if source.path and name not in TESTS]
KINDS = {"protein": PROTEIN} | ({"code": CODE} if CODE else {})


wildcard_constraints:
    source="[A-Za-z0-9][A-Za-z0-9_.-]*",
    file="[A-Za-z0-9][A-Za-z0-9_.+-]*",
    kind="protein|code",
    part="[0-9]{4}",
    cell="[0-9a-f]{10}",
    digest="[0-9a-f]{8}|none",
    objective="clm|mlm|both",
    law="[a-z_]+",
    results="results/[^/]+(/so-far)?",


def script(name):
    """Path of a program in scripts/, right under --directory too."""
    return ROOT / "scripts" / f"{name}.py"


# What Snakemake records of a rule's parameters, and compares, is their values: no paths (objects of
# the class Path), so that a repository that moves runs nothing again, and no functions that take
# `input` or `threads`. The values are a set, without names.


def settings(block, kind):
    """A block of the config as one parameter, in JSON, or of it what the class `kind` holds."""
    return block.model_dump_json(include=set(kind.model_fields))


# Of the block training: what a run shows, and how long it may take to start.
SHOWN = {"start_minutes", "step_log_rows", "tensorboard"}


def computed(*blocks):
    """The config, or some of its blocks, without what changes no result, as a parameter."""
    where = {"machine": True, "training": {"checkpoint_seconds", *SHOWN}, "sweep": {"max_epochs"}}
    return CONFIG.model_dump_json(include=set(blocks) or None, exclude=where)


def grows(amount):
    """A resource of which each retry of the job asks for more."""
    return inspected(lambda wildcards, attempt: attempt * amount)


def inspected(function):
    """The function with its signature, which Snakemake works out several times for each job: that
    takes longer than what the function does. Python asks for it here first."""
    function.__signature__ = inspect.signature(function)
    return function


def by_kind(values):
    """The one of `values` that belongs to a job's kind of sequence, as a function of the job."""
    return inspected(lambda wildcards: values[wildcards.kind])


def as_they_are(records):
    """Records that no job is to make again, whatever changed in what they were made from."""
    return [before_update(record) for record in records]


def fits_only():
    """Whether laws or scores are asked for and nothing that could train."""
    asked = set(workflow.dag_settings.targets)
    return bool(asked & {"laws", "downstream"}) and not asked & {"all", "train", "report"}


def may_train():
    """Whether something is asked for that could train, or the plan of it."""
    asked = set(workflow.dag_settings.targets)
    others = {"download", "data", "laws", "downstream", "published", "next_stage"}
    return not asked or bool(asked - others)


def records_of(cells):
    """The records of some cells."""
    return [f"{RESULTS}/runs/{cell}/result.json" for cell in cells]
