"""What is to be forecast, and what a forecast says besides its numbers."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plm_scaling import __version__
from plm_scaling.forecasts.asked import Asked
from plm_scaling.forecasts.record import LEVEL, Forecast, Why
from plm_scaling.laws.details import not_available
from plm_scaling.study.cell import Cell
from plm_scaling.train.output.starts import TIME

FACTS = (
    *("cell", "objective", "corpus", "size", "n_params", "tokens", "flops"),
    "flops_budget",
)


@dataclass(frozen=True)
class Task:
    """A cell to forecast, from the finished runs of these ids under `folder`."""

    cell: Cell
    why: Why
    identity: dict[str, str]
    runs: list[str]
    folder: Path
    asked: Asked

    def facts(self) -> dict[str, Any]:
        """The keys of the file that are known before anything is fitted."""
        return {
            **{name: getattr(self.cell, name) for name in FACTS},
            "recipe": self.cell.recipe_in_tables,
            "why": self.why,
            "time": time.strftime(TIME, time.gmtime()),
            "version": __version__,
            "identity": self.identity,
            "level": LEVEL,
        }

    def nothing(self, why_not: str) -> Forecast:
        """The forecast that says why there is none."""
        none = not_available(why_not)
        return Forecast(
            **self.facts(), runs=self.runs, runs_sha256=None, loss=none, best_size=none, curve=[]
        )

    def to_json(self) -> str:
        """For the program that makes it."""
        parts = {"cell": asdict(self.cell), "asked": asdict(self.asked)}
        return json.dumps({**vars(self), "folder": str(self.folder), **parts})

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Inverse of `to_json`."""
        told = json.loads(text)
        parts = {"cell": Cell(**told["cell"]), "asked": Asked(**told["asked"])}
        return cls(**{**told, "folder": Path(told["folder"]), **parts})
