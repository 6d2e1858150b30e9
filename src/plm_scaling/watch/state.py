"""What is known of the studies in a folder: one state for the terminal, for programs, for the page.

It is read from the files alone, during a run or after it, and decides nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plm_scaling.forecasts.record import Forecast
from plm_scaling.runs.failures import Failure
from plm_scaling.runs.status import CellState, totals
from plm_scaling.runs.time_left import Ahead
from plm_scaling.watch.law_so_far import LawSoFar
from plm_scaling.watch.workflow import Workflow

ENDED = ("finished", "diverged")
OF_CELL = (
    *("objective", "corpus", "size", "n_params", "flops", "flops_budget", "seed", "init_from"),
)


@dataclass(frozen=True)
class Study:
    """One study. `slurm` and `against` are by cell: its job, and its newest loss beside what was
    forecast. `damaged` says why forecasts cannot be read, `problem` why the sweep cannot."""

    results: Path
    cells: list[CellState] = field(default_factory=list)
    slurm: Mapping[str, str] = field(default_factory=dict)
    against: Mapping[str, str] = field(default_factory=dict)
    ahead: Ahead | None = None
    laws: list[LawSoFar] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        total = sum(state.plan.flops for state in self.cells)
        left = sum(state.flops_left for state in self.cells)
        report = self.results / "report.html"
        return {
            "study": self.results.name,
            "results": str(self.results),
            "problem": self.problem,
            "totals": totals(self.cells) if self.cells else "",
            "share_done": 1 - left / total if total else None,
            "time_left": self.ahead.to_json() if self.ahead else None,
            "time_left_lines": self.ahead.text.splitlines() if self.ahead else [],
            "cells": [self._cell(state) for state in self.cells],
            "laws": [asdict(law) for law in self.laws],
            "forecasts": [_forecast(made) for made in self.forecasts],
            "report": str(report) if report.is_file() else None,
        }

    def _cell(self, state: CellState) -> dict[str, Any]:
        told = {name: value for name, value in vars(state).items() if name != "plan"}
        return {
            **told,
            **{name: getattr(state.plan, name) for name in OF_CELL},
            "recipe": state.plan.recipe_in_tables,
            "tokens_planned": state.plan.tokens,
            "slurm": self.slurm.get(state.cell, ""),
            "against_forecast": self.against.get(state.cell, ""),
        }


@dataclass(frozen=True)
class State:
    """The studies of one folder, and what Snakemake does there."""

    folder: Path
    workflow: Workflow
    studies: list[Study]
    failures: list[Failure]
    slurm: list[str]
    notes: list[str]
    """Of GPUs and hosts that are set aside, of jobs that wait to be submitted, of damaged files."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change by itself: no run, no cell at work; and there was a run, or
        all cells have ended."""
        states = {state.state for study in self.studies for state in study.cells}
        at_work = {"running", "starting", "queued", "stalled"}
        if self.workflow.state == "running" or states & at_work:
            return False
        return self.workflow.state == "ended" or (bool(states) and states <= {*ENDED})

    def to_json(self) -> dict[str, Any]:
        """For `plm-scaling status --json` and the page; moments in seconds since the epoch."""
        return {
            "folder": str(self.folder.absolute()),
            "ended": self.ended,
            "workflow": asdict(self.workflow),
            "studies": [study.to_json() for study in self.studies],
            "failed": [asdict(failure) for failure in self.failures],
            "slurm": self.slurm,
            "notes": self.notes,
        }


def _forecast(made: Forecast) -> dict[str, Any]:
    names = ("cell", "objective", "size", "n_params", "flops_budget", "why", "time", "level")
    return {
        **{name: getattr(made, name) for name in names},
        "n_runs": len(made.runs),
        "loss": made.loss,
        "best_size": made.best_size,
    }
