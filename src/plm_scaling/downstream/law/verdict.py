"""What the scores of a series say: that they follow the loss, have a peak, or do not change."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import chi2

from plm_scaling.common.progress import many
from plm_scaling.downstream.law.forms import Fits, Form
from plm_scaling.downstream.law.series import Series
from plm_scaling.laws.stats.intervals import Interval

FEWEST_CELLS = 6
LEAST_RANGE = 2.0  # standard errors that the scores must span


class Verdict(StrEnum):
    """How a score follows the loss."""

    MONOTONE = "monotone"
    """It goes one way as the loss falls, better or worse."""
    PEAKED = "peaked"
    """It is best at a loss inside those of the cells."""
    FLAT = "flat"
    """It does not change with the loss: no form predicts it better than its mean, or the errors of
    the items explain all its scatter."""
    NOT_IDENTIFIED = "not_identified"


@dataclass(frozen=True)
class Judged:
    """A verdict, the form that goes with it, and why it is not identified, or a note."""

    verdict: Verdict
    form: Form
    why: str


def too_little(series: Series) -> str:
    """Why the cells cannot say anything, '' if they may."""
    n, spread = len(series.loss), float(np.ptp(series.score))
    if n < FEWEST_CELLS:
        return f"{many(n, 'cell')}; a law of scores needs {FEWEST_CELLS}"
    if np.ptp(series.loss) <= 0:
        return "all cells have the same loss"
    error = float(np.median(series.error))
    if spread < LEAST_RANGE * error or spread == 0:
        return (
            f"the scores of all cells lie within {spread:.3g}, under {LEAST_RANGE:g} standard "
            f"errors ({error:.3g}) of one"
        )
    return ""


def share_peaked(parabola: Fits, better: int) -> float:
    """The share of the resamples in which the score is best between the ends: it rises towards
    lower loss at the highest, and falls at the lowest."""
    high, low = (better * parabola.slope_at(end) for end in (1.0, -1.0))
    known = np.isfinite(high)
    return float(((high < 0) & (low > 0) & known).sum() / len(known))


def only_noise(series: Series, level: float) -> bool:
    """Whether the errors of the items explain how the scores scatter about their mean (χ²)."""
    if not (series.error > 0).all():
        return False
    weights = series.error**-2
    mean = float((weights * series.score).sum() / weights.sum())
    squares = float((weights * (series.score - mean) ** 2).sum())
    return squares <= float(chi2.ppf(level, len(series.score) - 1))


def decide(
    chosen: Form,
    errors: dict[Form, float],
    change: Interval | None,
    peaked: float,
    noise: bool,
    level: float,
) -> Judged:
    """The verdict of a series with cells enough.

    `change`: interval of what a line changes from the highest to the lowest loss; `errors`: of each
    form at cells left out; `peaked`: `share_peaked`; `noise`: `only_noise`.
    """
    if chosen == Form.PARABOLA and peaked >= level:
        return Judged(Verdict.PEAKED, chosen, "")
    if change is None:
        return Judged(Verdict.NOT_IDENTIFIED, chosen, "too few resamples gave a slope")
    if change[0] > 0 or change[1] < 0:
        if chosen == Form.CONSTANT:  # by caution; the slope is there
            others = {form: error for form, error in errors.items() if form != Form.CONSTANT}
            chosen = min(others, key=lambda form: others[form])
        if chosen == Form.PARABOLA and peaked >= 0.5:
            why = f"a peak inside the losses, but in only {100 * peaked:.0f} % of the resamples"
            return Judged(Verdict.NOT_IDENTIFIED, chosen, why)
        return Judged(Verdict.MONOTONE, chosen, "")
    if chosen == Form.CONSTANT or noise:
        return Judged(Verdict.FLAT, Form.CONSTANT, "")
    why = f"a {chosen} predicts cells left out better than their mean, but its slope may be noise"
    return Judged(Verdict.NOT_IDENTIFIED, chosen, why)
