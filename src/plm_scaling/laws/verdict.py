"""The rule by which every law is judged, when it is made and when its file is read.

Of not_identified, contradicted, at_bound, two_points and converged a law has the first that one of
its facts asks for (`judge`), and for each fact a sentence. Resamples that the estimate does not lie
among describe something else than the estimate, so such an interval is withheld.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from plm_scaling.laws.stats.intervals import percent
from plm_scaling.laws.status import Evidence, Limit, Status
from plm_scaling.study.laws import LAWS, OF_SCORES

if TYPE_CHECKING:
    from plm_scaling.laws.result import Equation

WIDE = 0.1  # an exponent known to no better than ± this does not steer a budget
HENCE = {  # what is not known where the exponent of an equation is wider
    "N": "how to share compute between N and D",
    "D_t": "how transferred tokens change with the size",
}
FAILED = 0.2  # with more of the resamples without a value the others are the lucky ones
ROUNDING = 1e-6  # relative; an estimate this near an end is at it: fits are not exact to the bit
LISTED = 3
D = TypeVar("D", bound=Mapping[str, Any])
Reasons = list[tuple[Status, str]]


def around(estimate: float, interval: Any) -> Any:
    """The interval (an end may be None: open) if it holds the estimate, else None.

    An end that misses the estimate by rounding is moved to it.
    """
    low, high = interval
    slack = ROUNDING * abs(estimate)
    low = low if low is None or not estimate < low <= estimate + slack else estimate
    high = high if high is None or not estimate - slack <= high < estimate else estimate
    outside = (low is not None and estimate < low) or (high is not None and estimate > high)
    return None if outside else type(interval)((low, high))


def worst(statuses: Any) -> Status:
    """The last of the `statuses` in the order of `Status`; converged if there are none."""
    order = list(Status)
    return max(statuses, key=order.index, default=Status.CONVERGED)


def judge(
    law: str, known: Status, evidence: Evidence, equations: Mapping[str, "Equation"], given: D
) -> tuple[dict[str, "Equation"], D, Status, Reasons]:
    """Equations and details without intervals that exclude their estimates, the status of the law,
    and what asked for which status; `known` is the best that the status can be."""
    excluded: list[str] = []
    parameters = {name: v for eq in equations.values() for name, v in eq.parameters.items()}
    details = {
        key: _intervals(value, parameters, key, excluded)
        if key == "open_intervals"
        else _checked(value, key, excluded)
        for key, value in given.items()
    }
    judged = cast(D, details)
    checked = {
        name: replace(eq, interval=_intervals(eq.interval, eq.parameters, name, excluded))
        for name, eq in equations.items()
    }
    reasons = [(known, ""), *_reasons(evidence)]
    if excluded:
        reasons.append((Status.NOT_IDENTIFIED, _excluded_sentence(excluded)))
    else:
        resampled = details.get("bootstrap", {}).get("resamples", 0) > 0
        determined = worst(status for status, _ in reasons) != Status.NOT_IDENTIFIED
        if why := _undetermined(law, checked, resampled and determined):
            reasons.append((Status.NOT_IDENTIFIED, why))
    return checked, judged, worst(status for status, _ in reasons), [r for r in reasons if r[1]]


def status_of(evidence: Evidence) -> tuple[Status, str]:
    """What a part of a law that has a status of its own has by this evidence, and why."""
    reasons = _reasons(evidence)
    status = worst(status for status, _ in reasons)
    return status, next((why for asked, why in reasons if asked == status), "")


def _reasons(evidence: Evidence) -> Reasons:
    """Which status each fact asks for, and its sentence; '' where the fit says it itself."""
    points = evidence.get("points")
    reasons: Reasons = [(Status.NOT_IDENTIFIED, why) for why in evidence.get("undetermined", [])]
    reasons += [(Status.CONTRADICTED, why) for why in evidence.get("contradictions", [])]
    reasons += [(Status.AT_BOUND, why) for why in evidence.get("at_bound", [])]
    if points is not None and points <= 2:
        reasons.append((Status.TWO_POINTS if points == 2 else Status.NOT_IDENTIFIED, ""))
    if (failed := evidence.get("failed", 0.0)) > FAILED:
        why = f"{percent(round(failed, 2))} of the resamples gave no value"
        reasons.append((Status.NOT_IDENTIFIED, f"{why}: the others are the lucky ones"))
    if "misfit" in evidence:
        reasons += _beyond(evidence["misfit"], Status.NOT_IDENTIFIED, "the runs do not follow it")
    if "held_out" in evidence:
        reasons += _beyond(evidence["held_out"], Status.CONTRADICTED, "it does not extrapolate")
    return reasons


def _beyond(limit: Limit, status: Status, so: str) -> Reasons:
    if not abs(limit["value"]) > limit["allowed"]:
        return []
    value, allowed = (
        f"{limit[name]:.3g} {limit['unit']}".rstrip() for name in ("value", "allowed")
    )
    return [(status, f"{limit['what']} is {value}, where {allowed} would agree with the law: {so}")]


def _undetermined(law: str, equations: Mapping[str, "Equation"], needs_interval: bool) -> str:
    """Why the main number of a law is not determined; empty if it is, or if there is none; a law
    that is not identified anyway is not told again that it lacks an interval."""
    if law == OF_SCORES:
        return ""  # each of its series has a verdict
    name, parameter, _ = LAWS[law].headline
    if name not in equations or equations[name].parameters.get(parameter) is None:
        return ""
    interval = equations[name].interval[parameter]
    if interval is None:
        why = (
            f"there is no interval for {parameter}: half of the resamples or more gave no value, "
            "or the interval has no end, so these runs do not determine it"
        )
        return why if needs_interval else ""
    if name not in HENCE or interval[1] - interval[0] <= 2 * WIDE:
        return ""
    return (
        f"the interval of {parameter} ({interval[0]:.2f} to {interval[1]:.2f}) spans more than "
        f"±{WIDE}: these runs do not determine the exponent, hence not {HENCE[name]}"
    )


def _checked(value: Any, where: str, excluded: list[str]) -> Any:
    """A part of a law file with every interval checked against its estimate.

    `interval` belongs to R_D, or maps names to intervals; `X_interval` belongs to X or X_nats.
    """
    if isinstance(value, list):
        return [_checked(v, f"{where} {_place(v, i)}", excluded) for i, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, part in value.items():
        if key == "interval" and isinstance(part, dict):
            result[key] = _intervals(part, value, where, excluded)
        elif key == "interval":
            result[key] = _interval(part, value.get("R_D"), f"{where} R_D", excluded)
        elif key.endswith("_interval"):
            name = key.removesuffix("_interval")
            estimate = value.get(name, value.get(f"{name}_nats"))
            result[key] = _interval(part, estimate, f"{where} {name}", excluded)
        else:
            result[key] = _checked(part, f"{where} {key}", excluded)
    return result


def _place(row: Any, number: int) -> str:
    """How to call a row of a table: by its compute where it has one."""
    flops = row.get("flops") if isinstance(row, dict) else None
    return f"row {number + 1}" if flops is None else f"at {flops:.3g} FLOPs"


def _intervals(
    intervals: Mapping[str, Any], estimates: Mapping[str, Any], where: str, excluded: list[str]
) -> dict[str, Any]:
    return {
        name: _interval(interval, estimates.get(name), f"{where} {name}", excluded)
        for name, interval in intervals.items()
    }


def _interval(interval: Any, estimate: float | None, where: str, excluded: list[str]) -> Any:
    if interval is None or estimate is None:
        return interval
    kept = around(estimate, interval)
    if kept is None:
        low, high = ("open" if end is None else f"{end:.4g}" for end in interval)
        excluded.append(f"{where} ({estimate:.4g}, resamples {low} to {high})")
    return kept


def _excluded_sentence(excluded: list[str]) -> str:
    more = f" and {len(excluded) - LISTED} more" if len(excluded) > LISTED else ""
    return (
        "no interval is given where the resamples exclude the estimate, so the fit rests on "
        f"something that few of them share: {', '.join(excluded[:LISTED])}{more}"
    )
