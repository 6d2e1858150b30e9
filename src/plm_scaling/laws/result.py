"""What every law file holds, in memory and as JSON (`laws.schema`).

A law's own tables (the minima of an IsoFLOP fit, the optima of a parametric one) are typed by the
law as its `Details`; they go into `details` and to the top level of the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.laws.stats.intervals import Estimate, Interval
from plm_scaling.laws.status import Evidence, Status
from plm_scaling.laws.verdict import judge

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

D_co = TypeVar("D_co", bound=Mapping[str, Any], covariant=True)


class EquationJson(TypedDict, extra_items=float | None):  # type: ignore[call-arg]
    """An equation in the file, where parameters are keys like `form`."""

    form: str
    interval: dict[str, Interval | None]
    level: float


@dataclass(frozen=True)
class Equation:
    """One equation: its form, its parameters and their intervals at `level`; None is unknown."""

    form: str
    parameters: dict[str, float | None]
    interval: dict[str, Interval | None]
    level: float

    def known(self, name: str) -> Estimate | None:
        """A parameter and the ends of its interval; None without either."""
        value, interval = self.parameters[name], self.interval[name]
        return None if value is None or interval is None else (value, *interval)

    def to_json(self) -> EquationJson:
        """As in the file."""
        known = {"interval": self.interval, "level": self.level}
        return cast(EquationJson, {"form": self.form, **self.parameters, **known})

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(EquationJson)  # its JSON schema is that of the file

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Equation":
        """Inverse of `to_json`."""
        interval = {n: i and (i[0], i[1]) for n, i in value["interval"].items()}
        return cls(value["form"], {n: value[n] for n in interval}, interval, value["level"])


class Excluded(TypedDict):
    """A run that the law does not use."""

    run_id: str
    why: str


class Selection(TypedDict):
    """How many runs there were (`given`), how many of them the law rests on (`used`), and how many
    were left out for which reason, most frequent first."""

    given: int
    used: int
    left_out: dict[str, int]


class Run(TypedDict):
    """A run as its table has it: N non-embedding, tokens, FLOPs and nats/token."""

    run_id: str
    n_params: float
    tokens: float
    flops: float
    loss: float


@dataclass(repr=False)
class LawResult(Generic[D_co]):
    """A fitted law and how good it is.

    Every law is judged by `verdict`: intervals that exclude their estimates are withheld, and
    `status` and `warnings` say what follows from them and from the `evidence`.
    """

    law: str
    method: str
    n_points: int
    equations: dict[str, Equation]
    objective_value: float | None
    residual_rms: float | None
    warnings: list[str]
    details: D_co
    evidence: Evidence = field(default_factory=lambda: Evidence())
    status: Status = Status.CONVERGED
    """Of the file that was read; else the rule's."""
    objective: str = ""
    study: str = ""
    data: dict[str, str] = field(default_factory=dict)
    excluded: list[Excluded] = field(default_factory=list)
    selection: Selection | None = None
    runs: list[Run] = field(default_factory=list)
    """The runs that the fit took, in the order of the table."""
    version: str = ""
    reason: str = field(default="", init=False)
    """Why it is not converged, as a rule one of the warnings. Not in the file."""
    taken: set[str] | None = None
    """Run ids that the fit took of those it was given, None: all. Not in the file."""

    def __post_init__(self) -> None:
        self.judge()

    def judge(self) -> None:
        """Decide `status` and say why; again when `evidence` has been added."""
        self.equations, self.details, self.status, reasons = judge(
            self.law, Status(self.status), self.evidence, self.equations, self.details
        )
        said = [why for _, why in reasons if why not in self.warnings]
        self.warnings = [*self.warnings, *said]
        due = [why for status, why in reasons if status == self.status]
        known = {
            Status.CONVERGED: "",
            Status.TWO_POINTS: "a line through two, which nothing checks",
        }
        self.reason = known.get(self.status, (due or self.warnings or [""])[-1])

    def predict(self, flops: Any = None, *, n: Any = None, d: Any = None) -> "pd.DataFrame":
        """At compute `flops` the best N and D and the loss; of `n` parameters and `d` tokens the
        loss (parametric). Numbers or columns of them; see `laws.predict`."""
        from plm_scaling.laws.predict import predict

        return predict(self, flops, n, d)

    def plot(self) -> "Figure":
        """Loss and N against compute, with the runs: a matplotlib Figure."""
        from plm_scaling.laws.plot import plot

        return plot(self)

    def to_frame(self) -> "pd.DataFrame":
        """A row per parameter: equation, form, parameter, value, low and high of its interval."""
        return _text().law_frame(self)

    def __repr__(self) -> str:
        """Two or three lines."""
        return "\n".join(_text().law_lines(self))

    def _repr_html_(self) -> str:
        return _text().law_html(self)

    def to_json(self) -> dict[str, Any]:
        """The content of the law file."""
        apart = ("details", "reason", "taken", "runs")
        common = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        common["equations"] = {name: law.to_json() for name, law in self.equations.items()}
        return {**common, **self.details, "runs": self.runs}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "LawResult[Any]":
        """Inverse of `to_json`; unknown keys are the law's own tables."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["equations"] = {n: Equation.from_json(e) for n, e in value["equations"].items()}
        known["details"] = {n: v for n, v in value.items() if n not in known}
        return cls(**known)


def _text() -> ModuleType:
    """`laws.text`, which imports this module, and pandas, which a plan does not need."""
    return import_module("plm_scaling.laws.text")


def write_law(path: Path | str, result: LawResult) -> None:
    """Write the law file, whole or not at all."""
    write_json(Path(path), result.to_json())


def read_law(path: Path | str) -> LawResult:
    """Read a law file; raises LawError naming it when it is missing or not one."""
    try:
        return LawResult.from_json(read_json(Path(path)))
    except FileNotFoundError:
        raise LawError(f"{path}: no such law file; make it with `snakemake laws`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{path}: not a law file ({error})"
        raise LawError(f"{what}; make one with `plm-scaling fit`") from error
