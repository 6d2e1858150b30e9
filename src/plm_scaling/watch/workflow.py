"""How far the last Snakemake run in a folder is: its stages, and the jobs that run now."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from plm_scaling.common.files import tail
from plm_scaling.runs.job_events import (
    FAILED,
    FINISHED,
    PLANNED,
    STARTED,
    is_running,
    job_events,
)
from plm_scaling.runs.rule_stages import STAGE_OF, TRAINING

TAIL_BYTES = 4096
SAID = re.compile(r"^\S+ \S+ INFO (\[.*)$", re.MULTILINE)  # progress in the log of our programs


@dataclass(frozen=True)
class RunningJob:
    """A job that was started, or submitted, at `started` (seconds since the epoch) and has not
    ended; `said` is the last line of progress in its log."""

    rule: str
    output: str
    started: float
    said: str


@dataclass(frozen=True)
class Stage:
    """Jobs of a rules file in this run: how many there are, and became of them.

    `left_seconds` is for those that have not ended, from the mean of the ended ones of their rules,
    by as many as run now; None where a rule has none that ended, none runs, or jobs are as unlike
    as cells are (`runs.time_left` counts these).
    """

    name: str
    jobs: int
    done: int
    running: int
    failed: int
    left_seconds: float | None


@dataclass(frozen=True)
class Workflow:
    """The last run: `state` is running, ended or, where there was none, not started."""

    state: Literal["not started", "running", "ended"]
    stages: list[Stage] = field(default_factory=list)
    jobs: list[RunningJob] = field(default_factory=list)


@dataclass
class _Rule:
    planned: int
    started: dict[int, dict[str, Any]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)


def read_workflow(folder: Path, now: float) -> Workflow:
    """How far the last run in `folder` is at `now` (seconds since the epoch)."""
    runs = is_running(folder)  # before its events: those of its end are read, then
    rules, begun = _rules(folder)
    if not begun:
        return Workflow("running" if runs else "not started")
    jobs = [
        RunningJob(name, _first(event["output"]), event["time"], _said(folder, event))
        for name, rule in rules.items()
        for event in rule.started.values()
    ]
    stages: dict[str, dict[str, _Rule]] = {}
    for name, rule in rules.items():
        stages.setdefault(STAGE_OF.get(name, name), {})[name] = rule
    shown = [_stage(name, own, now, runs) for name, own in stages.items()]
    return Workflow(
        "running" if runs else "ended",
        [stage for stage in shown if stage.jobs],
        jobs if runs else [],
    )


def _rules(folder: Path) -> tuple[dict[str, _Rule], bool]:
    """What became of the jobs of each rule, and whether there was a run at all."""
    rules: dict[str, _Rule] = {}
    of_job: dict[int, str] = {}
    begun = False
    for event in job_events(folder):
        begun = True
        if event["event"] == PLANNED:
            rules |= {rule["rule"]: _Rule(rule["jobs"]) for rule in event["rules"]}
            continue
        number = event["job"]
        if event["event"] == STARTED and event.get("rule") in rules:
            of_job[number] = event["rule"]
            rules[event["rule"]].started[number] = event
            rules[event["rule"]].failed.discard(number)
        elif number in of_job:
            rule = rules[of_job[number]]
            start = rule.started.pop(number, None)
            if event["event"] == FINISHED and start is not None:
                rule.seconds.append(event["time"] - start["time"])
            elif event["event"] == FAILED and not event["again"]:
                rule.failed.add(number)
    return rules, begun


def _stage(name: str, rules: dict[str, _Rule], now: float, runs: bool) -> Stage:
    count: Counter[str] = Counter()
    seconds, known = 0.0, True
    for rule_name, rule in rules.items():
        ended = len(rule.seconds) + len(rule.failed)
        # Stages of the sweep add jobs to those planned at the start.
        jobs = max(rule.planned, ended + len(rule.started))
        count.update(jobs=jobs, done=len(rule.seconds), running=len(rule.started))
        count.update(failed=len(rule.failed))
        if left := jobs - ended:
            known = known and bool(rule.seconds) and rule_name != TRAINING
            usual = mean(rule.seconds) if rule.seconds else 0.0
            spent = sum(min(usual, now - event["time"]) for event in rule.started.values())
            seconds += max(0.0, usual * left - spent)
    running = count["running"] if runs else 0
    left_seconds = seconds / running if known and running else None
    return Stage(name, count["jobs"], count["done"], running, count["failed"], left_seconds)


def _said(folder: Path, event: dict[str, Any]) -> str:
    log = folder / _first(event["logs"])
    lines = SAID.findall(tail(log, TAIL_BYTES)) if log.is_file() else []
    return lines[-1] if lines else ""


def _first(names: list[str]) -> str:
    return names[0] if names else ""
