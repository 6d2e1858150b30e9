"""What every law file holds, in memory and as JSON.

`law.schema.json` beside this module describes the file. A law's own tables (the minima of an
IsoFLOP fit, the optima of a parametric one) go into `details` and to the top level of the file.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import LawError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.laws.stats.intervals import Interval
from plm_scaling.laws.status import Status
from plm_scaling.laws.verdict import judge

SCHEMA = Path(__file__).with_name("law.schema.json")


@dataclass(frozen=True)
class Equation:
    """One equation: its form, its parameters and their intervals at `level`; None is unknown."""

    form: str
    parameters: dict[str, float | None]
    interval: dict[str, Interval | None]
    level: float

    def to_json(self) -> dict[str, Any]:
        """Parameters lie beside the form."""
        interval = {name: None if i is None else list(i) for name, i in self.interval.items()}
        return {"form": self.form, **self.parameters, "interval": interval, "level": self.level}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Equation":
        """Inverse of `to_json`."""
        interval = {n: None if i is None else (i[0], i[1]) for n, i in value["interval"].items()}
        return cls(value["form"], {n: value[n] for n in interval}, interval, value["level"])


@dataclass
class LawResult:
    """A fitted law and how good it is; see the schema for the meaning of the fields.

    Every law is judged by `verdict`: intervals that exclude their estimates are withheld, and
    `status` and `warnings` say what follows.
    """

    law: str
    method: str
    n_points: int
    equations: dict[str, Equation]
    objective_value: float | None
    residual_rms: float | None
    status: Status
    warnings: list[str]
    details: dict[str, Any]
    objective: str = ""
    study: str = ""
    data: dict[str, str] = field(default_factory=dict)
    excluded: list[dict[str, str]] = field(default_factory=list)
    selection: dict[str, Any] = field(default_factory=dict)
    """How many runs there were (`given`), how many of them the law rests on (`used`), and how many
    were left out for which reason (`left_out`, most frequent first)."""
    version: str = ""
    taken: set[str] | None = None
    """Run ids that the fit took of those it was given, None: all. Not in the file."""

    def __post_init__(self) -> None:
        self.status = Status(self.status)
        self.equations, self.details, reasons = judge(
            self.law, self.status, self.equations, self.details
        )
        if reasons:
            self.status = Status.NOT_IDENTIFIED
            self.warnings = [*self.warnings, *(r for r in reasons if r not in self.warnings)]

    def to_json(self) -> dict[str, Any]:
        """The content of the law file."""
        return {
            "law": self.law,
            "objective": self.objective,
            "study": self.study,
            "method": self.method,
            "n_points": self.n_points,
            "equations": {name: eq.to_json() for name, eq in self.equations.items()},
            "objective_value": self.objective_value,
            "residual_rms": self.residual_rms,
            "status": self.status,
            "warnings": self.warnings,
            "data": self.data,
            "excluded": self.excluded,
            "selection": self.selection,
            "version": self.version,
            **self.details,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "LawResult":
        """Inverse of `to_json`; unknown keys are the law's own tables."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["equations"] = {n: Equation.from_json(e) for n, e in value["equations"].items()}
        known["details"] = {n: v for n, v in value.items() if n not in known}
        return cls(**known)


def write_law(path: Path, result: LawResult) -> None:
    """Write the law file, whole or not at all."""
    write_json(path, result.to_json())


def read_law(path: Path) -> LawResult:
    """Read a law file; raises LawError naming it when it is missing or not one."""
    try:
        return LawResult.from_json(read_json(path))
    except FileNotFoundError:
        raise LawError(f"{path}: no such law file; make it with `snakemake laws`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LawError(f"{path}: not a law file ({error}); remove it and fit again") from error
