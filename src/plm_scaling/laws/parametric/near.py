"""The fit to the runs near the frontier beside that to all: what wings far off it move."""

from typing import NotRequired, cast

from typing_extensions import TypedDict

from plm_scaling.laws.details import NotAvailable
from plm_scaling.laws.parametric.health import FlatRange
from plm_scaling.laws.parametric.held_out import HeldOut
from plm_scaling.laws.result import Equation, EquationJson, LawResult
from plm_scaling.laws.stats.intervals import apart
from plm_scaling.laws.status import Status

SAME_EXPONENT = 0.01  # a difference in a of less changes no plan


class NearFrontier(TypedDict):
    """The fit to the runs `within` so many nats of the best of like compute."""

    status: Status
    n_points: int
    equations: dict[str, EquationJson]
    objective_value: float | None
    residual_rms: float | None
    profile_E: FlatRange
    held_out: HeldOut | NotAvailable
    warnings: list[str]
    within: float


class NoNearFrontier(NotAvailable):
    """Why there is no such fit."""

    within: NotRequired[float]


def near_rows(fit: LawResult, within: float) -> NearFrontier:
    """The parts of the fit to near-frontier runs that the law of all runs lists."""
    whole = fit.to_json()
    profile = {name: whole["profile_E"][name] for name in FlatRange.__annotations__}
    listed = whole | {"profile_E": profile, "within": within}
    return cast(NearFrontier, {name: listed[name] for name in NearFrontier.__annotations__})


def near_contradiction(law: Equation, near: LawResult) -> list[str]:
    """A sentence if a of all runs and of those near the frontier differ by more than the intervals
    of both together allow."""
    one, other = law.known("a"), near.equations["N"].known("a")
    if one is None or other is None:
        return []
    difference, allowed = apart(one, other)
    if difference <= max(allowed, SAME_EXPONENT):
        return []
    return [
        f"a is {one[0]:.3f} from all runs and {other[0]:.3f} from the {near.n_points} near the "
        f"frontier, where the intervals allow a difference of {allowed:.3f}: runs far off the "
        "frontier do not follow the form"
    ]
