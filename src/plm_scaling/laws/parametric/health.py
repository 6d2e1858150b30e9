"""Whether a parametric fit is identified: other optima, bounds, flat directions, as sentences."""

import numpy as np
from typing_extensions import TypedDict

from plm_scaling.laws.parametric.derivatives import TERMS
from plm_scaling.laws.parametric.optima import Optimum
from plm_scaling.laws.parametric.runs import Runs
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.intervals import NO_BOOTSTRAP, Floats, Interval, percent
from plm_scaling.laws.status import Evidence

FLAT = 0.02  # an objective this much above the best is as good, for any noise met in practice
RIVAL = 0.10
FEW_RUNS = 12
OFTEN = 0.05
CLEAR = 3.0  # noise alone gives a term and its exponent less than this in 99 of 100 sets of runs
LEAST_LEVELS = 3  # two sizes leave E, A and α undetermined together, whatever the resamples say


class FlatRange(TypedDict):
    """The E (nats) whose objective is within a share `flat_threshold` of the best."""

    flat_range: Interval
    flat_threshold: float
    identified: bool
    upper_limit: float


class ProfilePoint(TypedDict):
    """The best fit with E held, and its exponent of N."""

    E: float
    objective_value: float
    a: float


class Profile(FlatRange):
    """The profile of the objective over E."""

    points: list[ProfilePoint]


def profile_summary(
    surface: Surface, best: Optimum, rows: list[tuple[float, float, Floats]]
) -> Profile:
    """The profile over E, and the range of E whose objective is within FLAT of the best."""
    floors, misfits = (np.array([row[i] for row in rows], float) for i in (0, 1))
    low, high = _flat_range(floors, misfits, best.misfit * (1 + FLAT), float(best.theta[0]))
    return {
        "points": [
            {"E": floor, "objective_value": misfit, "a": float(theta[4] / (theta[3] + theta[4]))}
            for floor, misfit, theta in rows
        ],
        "flat_range": (low, high),
        "flat_threshold": FLAT,
        "identified": low > 0,
        "upper_limit": float(surface.bounds[1][0]),
    }


def _flat_range(
    floors: Floats, misfits: Floats, limit: float, best_floor: float
) -> tuple[float, float]:
    """Where the profile, linear between its points, crosses `limit` on either side of the best."""
    k = int(np.flatnonzero(floors == best_floor)[0])
    ends = []
    for side in (range(k - 1, -1, -1), range(k + 1, len(floors))):
        end, previous = best_floor, k
        for i in side:
            if misfits[i] > limit:
                rise = misfits[i] - misfits[previous]
                share = max(0.0, limit - misfits[previous]) / rise
                end = float(floors[previous] + share * (floors[i] - floors[previous]))
                break
            end, previous = float(floors[i]), i
        ends.append(end)
    return ends[0], ends[1]


def fit_warnings(
    surface: Surface,
    optima: list[Optimum],
    samples: Floats,
    profile: FlatRange,
    runs: Runs,
) -> list[str]:
    """Sentences for the law file and the report."""
    best = optima[0]
    warnings = []
    if rivals := [o for o in optima[1:] if _rival(o, best)]:
        alpha, beta = rivals[0].theta[3], rivals[0].theta[4]
        warnings.append(
            f"another optimum lies within {percent(RIVAL)} of the best objective: "
            f"E={rivals[0].theta[0]:.2f}, alpha={alpha:.3f}, beta={beta:.3f}, "
            f"a={beta / (alpha + beta):.2f} ({len(rivals)} such in all)"
        )
    low, high = profile["flat_range"]
    if not profile["identified"]:
        warnings.append(
            f"E is not identified: every E from {low:.2f} to {high:.2f} nats fits within "
            f"{percent(FLAT)} of the best objective"
        )
    if (distinct := min(runs.distinct, runs.units)) < FEW_RUNS:
        said = f"{distinct} distinct {runs.unit} for five parameters"
        warnings.append(f"{said}; the intervals are rough")
    return warnings + _resample_warnings(surface, samples)


def _rival(other: Optimum, best: Optimum) -> bool:
    """Almost as good a fit with another allocation or another floor."""
    shares = [o.theta[4] / (o.theta[3] + o.theta[4]) for o in (other, best)]
    apart = abs(shares[0] - shares[1]) > 0.02 or abs(other.theta[0] - best.theta[0]) > 0.1
    return bool(apart and other.misfit <= best.misfit * (1 + RIVAL))


def fit_evidence(surface: Surface, best: Optimum, hit: list[str], runs: Runs) -> Evidence:
    """Of parameters at a bound: E at 0 is a result of its own, another term at its bound leaves the
    allocation undetermined; as do a term within the noise and too few sizes or amounts of tokens.
    """
    said = {name: _bound_sentence(name, float(best.theta[NAMES.index(name)])) for name in hit}
    floor = [said.pop("E")] if "E" in said else []
    few = [
        f"{count} different {what}: an exponent and a floor need {LEAST_LEVELS}"
        for what, count in runs.levels.items()
        if count < LEAST_LEVELS
    ]
    unclear = _unclear(surface, best, hit)
    return {"at_bound": floor, "undetermined": [*said.values(), *unclear, *few]}


def _unclear(surface: Surface, best: Optimum, hit: list[str]) -> list[str]:
    """Sentences on terms that differ between the runs by no more than noise alone could make them.

    Needed besides the interval of the allocation, which is not there without resamples.
    """
    theta, loss = best.theta, np.exp(surface.log_loss)
    noise = rms(surface.log_prediction(theta[None])[0] - surface.log_loss) / np.sqrt(len(loss))
    said = []
    for (i, k), axis, log_axis in zip(TERMS, "ND", (surface.log_n, surface.log_d), strict=True):
        spread = float(np.std(theta[i] * np.exp(-theta[k] * log_axis) / loss))
        if spread <= CLEAR * noise and not {NAMES[i], NAMES[k]} & set(hit):
            said.append(
                f"the runs show no clear dependence on {axis}: its term differs between them by "
                f"{spread:.2g} of the loss, and noise alone could make that {CLEAR * noise:.2g}"
            )
    return said


def _bound_sentence(name: str, value: float) -> str:
    if name == "E":
        floor = "0" if value == 0 else f"the least loss ({value:.3f})"
        return f"E ended at its bound, {floor}: these runs do not identify an irreducible loss"
    if name in ("A", "B"):
        other = "N" if name == "A" else "D"
        return (
            f"{name} ended at its bound ({value:.3g}): the runs show no clear dependence on {other}"
        )
    return f"{name} ended at its bound ({value:.3g}): the runs do not determine it"


def _resample_warnings(surface: Surface, samples: Floats) -> list[str]:
    if not len(samples):
        return [NO_BOOTSTRAP]
    warnings = []
    unusable = float(np.isnan(samples[:, 0]).mean())
    if unusable > OFTEN:
        warnings.append(
            f"{percent(round(unusable, 2))} of the resamples had too few distinct runs or did not "
            "converge"
        )
    low, high = surface.bounds
    with np.errstate(invalid="ignore"):
        at_bound = ((samples <= low) | (samples >= high)).mean(axis=0).tolist()
    shares = dict(zip(NAMES, at_bound, strict=True))
    if often := [f"{n} in {percent(round(s, 2))}" for n, s in shares.items() if s > OFTEN]:
        warnings.append(f"of the resamples, these ended at a bound: {', '.join(often)}")
    return warnings
