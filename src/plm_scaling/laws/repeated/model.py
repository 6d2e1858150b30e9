"""What repeated tokens and excess parameters are worth (Muennighoff et al. 2023, eq. 5 to 7).

D' = U + U·R*_D·(1 − exp(−R_D/R*_D)) with R_D = D/U − 1 repetitions of U unique tokens, and
N' = U_N + U_N·R*_N·(1 − exp(−R_N/R*_N)) with R_N = N/U_N − 1, where U_N = min(N, N_opt(U)) is the
size that the unique tokens call for. The loss is that of the base law at (N', D').
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plm_scaling.laws.repeated.details import FormName, FormRow, OpenInterval, WorthRow
from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import USABLE_SHARE, Floats, Interval, percentile_interval
from plm_scaling.laws.status import Evidence

R_LIMITS = (0.05, 1000.0)  # below, repeats are worth nothing; above, as much as fresh tokens
KAPPA_LIMITS = (0.05, 8.0)
AIC_MARGIN = 2.0  # below, two forms describe the runs alike
LEAST_MISFIT = 1e-20  # of runs that a form meets exactly
EXCESS_FORM = "c*R^kappa"
EQUATIONS = {
    "D_eff": ("U + U*R_D*(1 - exp(-R/R_D))", ("R_D",)),
    "N_eff": ("U_N + U_N*R_N*(1 - exp(-R/R_N))", ("R_N",)),
    "excess": (EXCESS_FORM, ("c", "kappa")),
}
EDGE = 1.001  # relative; closer to a limit than this is at it


def gains(repetitions: Floats, r_star: Floats | float) -> tuple[Floats, Floats, Floats]:
    """What one token and its R repetitions are worth, 1 + R*·(1 − e^(−R/R*)), the derivative of
    that in ln R*, and e^(−R/R*)."""
    decay = np.exp(-repetitions / r_star)
    gained = -r_star * np.expm1(-repetitions / r_star)
    return 1 + gained, gained - repetitions * decay, decay


def effective_tokens(
    tokens: Floats, unique_tokens: Floats | float, r_star: Floats | float
) -> Floats:
    """D' in tokens; `r_star` broadcasts against the runs. Without repetition D' = D."""
    unique = np.minimum(unique_tokens, tokens)
    return unique * gains(tokens / unique - 1, r_star)[0]


def optimal_params(base: Mapping[str, float], unique_tokens: Floats) -> Floats:
    """N_opt for U unique tokens under the base law E + A/N^alpha + B/D^beta.

    From αA/N^α = βB/D^β (Hoffmann et al. 2022, eq. 4); infinite if a term of the law vanished.
    """
    with np.errstate(divide="ignore", over="ignore"):
        gain = base["beta"] * base["B"] / unique_tokens ** base["beta"]
        return np.asarray((base["alpha"] * base["A"] / gain) ** (1 / base["alpha"]))


@dataclass(frozen=True)
class Fitted:
    """Parameters of the chosen form that are known, their intervals, and what is to be said of
    both; `warnings` are of R*_N, without which R*_D stands."""

    values: dict[str, float | None]
    intervals: dict[str, OpenInterval | None]
    evidence: Evidence
    warnings: list[str] = field(default_factory=list)


def penalty_of(c: float, kappa: float, samples: Floats, level: float) -> Fitted:
    """c and κ with intervals of their resamples (S, 2); where c is 0 there is no κ. They are not
    identified where κ or an end of its interval is at a limit of those sought: a constant for all
    repeats, or one for those that repeat most, is as good then."""
    samples = np.where(samples[:, :1] > 0, samples, np.nan)
    ends = {n: percentile_interval(samples[:, k], level) for k, n in enumerate(("c", "kappa"))}
    why = []
    if len(samples) and None in ends.values():
        why = ["c and kappa are not identified: half of the resamples or more have no penalty"]
    else:
        reached = np.array([kappa, *(ends["kappa"] or ())])
        if (reached <= KAPPA_LIMITS[0] * EDGE).any() or (reached >= KAPPA_LIMITS[1] / EDGE).any():
            low, high = KAPPA_LIMITS
            why = [
                f"c and kappa are not identified: kappa or its interval ends at a limit of those "
                f"sought ({low:g} to {high:g})"
            ]
    return Fitted({"c": c, "kappa": kappa}, {**ends}, {"at_bound": [], "undetermined": why})


def equations_of(fitted: Fitted, level: float) -> dict[str, Equation]:
    """The equations of both forms; the parameters of the one not chosen are None."""
    ends = {name: closed(interval) for name, interval in fitted.intervals.items()}
    return {
        name: Equation(
            form,
            {parameter: fitted.values.get(parameter) for parameter in parameters},
            {parameter: ends.get(parameter) for parameter in parameters},
            level,
        )
        for name, (form, parameters) in EQUATIONS.items()
    }


def aic(misfit: float, points: int, parameters: int) -> float:
    """Akaike's criterion, of a mean misfit of so many points."""
    return float(points * np.log(max(misfit, LEAST_MISFIT)) + 2 * parameters)


def chosen_form(rows: list[FormRow]) -> FormName:
    """The form of the law: worth, unless the AIC of the penalty is lower by more than a margin."""
    found = {row["form"]: row["aic"] for row in rows}
    better = found[FormName.PENALTY] < found[FormName.WORTH] - AIC_MARGIN
    return FormName.PENALTY if better else FormName.WORTH


def r_grid(points: int) -> Floats:
    """Values of R* to scan, even in the logarithm."""
    return np.geomspace(*R_LIMITS, points)


def lowest_on_grid(misfit: Floats, grid: Floats) -> Floats:
    """R* of least misfit for each row of `misfit` (S, G), by a parabola in ln R* through three
    points; −inf or inf where the least lies at the lower or upper limit of all values scanned."""
    i = misfit.argmin(axis=1)
    inner = np.clip(i, 1, len(grid) - 2)
    rows = np.arange(len(misfit))
    left, mid, right = (misfit[rows, inner + k] for k in (-1, 0, 1))
    curvature = left - 2 * mid + right
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.where(curvature > 0, 0.5 * (left - right) / curvature, 0.0)
    step = np.log(grid[1] / grid[0])
    value = grid[inner] * np.exp(np.clip(shift, -1, 1) * step)
    return np.where(at_limit(grid[i]), beyond_limits(grid[i]), value)


def beyond_limits(r_star: Floats) -> Floats:
    """R*, infinite where it lies at a limit of the values scanned."""
    r_star = np.where(r_star <= R_LIMITS[0] * EDGE, -np.inf, r_star)
    return np.where(r_star >= R_LIMITS[1] / EDGE, np.inf, r_star)


def at_limit(r_star: Any) -> Any:
    """Whether R* lies at an end of the values scanned."""
    return (r_star <= R_LIMITS[0] * EDGE) | (r_star >= R_LIMITS[1] / EDGE)


def open_interval(samples: Floats, level: float) -> OpenInterval | None:
    """The central `level` interval; an end at the edge of the grid is None, that is: open.

    NaN are resamples without a value; None if half of the resamples or more are.
    """
    known = samples[~np.isnan(samples)]
    if len(known) <= USABLE_SHARE * len(samples):
        return None
    shares = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(known, shares, method="nearest")  # no mean of a number and infinity
    return (float(low) if np.isfinite(low) else None, float(high) if np.isfinite(high) else None)


def closed(interval: OpenInterval | None) -> Interval | None:
    """The interval if both ends are known; law files hold the others as `open_intervals`."""
    if interval is None or interval[0] is None or interval[1] is None:
        return None
    return interval[0], interval[1]


def open_sentence(name: str, interval: OpenInterval | None) -> list[str]:
    """A warning if an end of the interval of R*_`name` lies beyond the values scanned."""
    if interval is None or None not in interval:
        return []
    low, high = interval
    if low is None and high is None:
        return [f"R*_{name} is not identified: its interval covers all values scanned"]
    if high is None:
        return [
            f"the interval of R*_{name} is open: above {low:.3g} no value can be ruled out "
            f"(scanned up to {R_LIMITS[1]:g}); repeats may be worth as much as fresh tokens"
        ]
    return [
        f"the interval of R*_{name} is open: below {high:.3g} no value can be ruled out "
        f"(scanned down to {R_LIMITS[0]:g}); repeats may be worth nothing"
    ]


def worth_rows(r_star: float | None, most_epochs: float) -> list[WorthRow]:
    """D' in units of U after 1, 2, 4, … epochs up to the most that R* was fitted on; empty without
    R*."""
    if r_star is None:
        return []
    epochs = np.append(2.0 ** np.arange(np.ceil(np.log2(most_epochs))), most_epochs)
    worth = effective_tokens(epochs, 1.0, r_star)
    return [
        {"epochs": float(e), "effective_over_unique": float(w)}
        for e, w in zip(epochs, worth, strict=True)
    ]
