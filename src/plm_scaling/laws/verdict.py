"""The rule by which every law is judged, when it is made and when its file is read.

Resamples that the estimate does not lie among describe something else than the estimate, so such an
interval is withheld. A law whose main number has no interval although runs were resampled, or whose
exponent of N is known to no better than ±0.15, is not identified.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from plm_scaling.laws.status import Status
from plm_scaling.study.laws import LAWS

if TYPE_CHECKING:
    from plm_scaling.laws.result import Equation

WIDE = 0.15  # an exponent known to no better than ± this does not steer a budget
ROUNDING = 1e-6  # relative; an estimate this near an end is at it: fits are not exact to the bit
LISTED = 3
D = TypeVar("D", bound=Mapping[str, Any])


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


def judge(
    law: str, status: Status, equations: Mapping[str, "Equation"], given: D
) -> tuple[dict[str, "Equation"], D, list[str]]:
    """Equations and details without intervals that exclude their estimates, and sentences on why
    the law is not identified; a law of that `status` already is not told again that it lacks an
    interval."""
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
    if excluded:
        return checked, judged, [_excluded_sentence(excluded)]
    resampled = details.get("bootstrap", {}).get("resamples", 0) > 0
    why = _undetermined(law, checked, resampled and status != Status.NOT_IDENTIFIED)
    return checked, judged, [why] if why else []


def _undetermined(law: str, equations: Mapping[str, "Equation"], needs_interval: bool) -> str:
    """Why the main number of a law is not determined; empty if it is, or if there is none."""
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
    if name != "N" or interval[1] - interval[0] <= 2 * WIDE:
        return ""
    return (
        f"the interval of a ({interval[0]:.2f} to {interval[1]:.2f}) spans more than ±{WIDE}: "
        "these runs do not determine the exponent, hence not how to share compute between N and D"
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
