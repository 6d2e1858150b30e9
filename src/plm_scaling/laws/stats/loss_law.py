"""The lowest loss at each compute, L = E + k·C^c with E ≥ 0, k > 0 and c < 0: it never rises.

A power law (E = 0) unless a test against the minima's noise shows a floor. Predictions need more
than the chosen form: each resample fits its E anew, so intervals reach to what a floor would give
that the runs do not exclude.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval

MIN_BUDGETS = 4  # three parameters meet three minima exactly, and nothing is left for a test
LEVEL = 0.025  # of the one-sided test for a floor
EXPONENTS = -np.geomspace(1e-3, 0.5, 64)  # the scan; αβ/(α+β) is below 0.5 for α, β ≤ 1
STEPS = 8  # of the search between the neighbours of the best
SMALLEST_SD = 1e-6  # nats; no minimum is known better


@dataclass(frozen=True)
class LossLaw:
    """L = floor + exp(log_k)·C^exponent in nats; floor 0 is the power law."""

    floor: float
    log_k: float
    exponent: float

    def __call__(self, flops: Floats | float) -> Floats:
        """L at `flops`."""
        return self.floor + np.exp(self.log_k + self.exponent * np.log(flops))

    def inverse(self, loss: Floats | float) -> Floats:
        """The FLOPs of a loss; infinite at or below the floor."""
        above = np.maximum(np.asarray(loss, float) - self.floor, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            return np.exp((np.log(above) - self.log_k) / self.exponent)


@dataclass(frozen=True)
class LossLaws:
    """One law per resample, each array (resamples,), NaN where none."""

    floor: Floats
    log_k: Floats
    exponent: Floats

    @property
    def first(self) -> LossLaw:
        """The first of them."""
        return LossLaw(float(self.floor[0]), float(self.log_k[0]), float(self.exponent[0]))

    def __call__(self, flops: float) -> Floats:
        """L of every resample at `flops`."""
        return self.floor + np.exp(self.log_k + self.exponent * np.log(flops))


@dataclass(frozen=True)
class LossFit:
    """The chosen law, its resamples with the floor free (for predictions) and in the chosen form
    (for the equation), and what a reader must know."""

    law: LossLaw
    resampled: LossLaws
    in_form: LossLaws
    warnings: list[str]

    def equation(self, level: float) -> Equation:
        """With percentile intervals."""
        return loss_equation(self.law, self.in_form, level)

    def interval(self, flops: float, level: float) -> Interval | None:
        """Of L at `flops`: from the lower end of the chosen form to the upper end of either, as a
        floor that the runs do not show may be none, or one that they do not exclude."""
        ends = [percentile_interval(x(flops), level) for x in (self.resampled, self.in_form)]
        known = [end for end in ends if end is not None]
        if len(known) < len(ends):
            return None
        return min(low for low, _ in known), max(high for _, high in known)


def fit_loss(
    log_c: Floats,
    loss: Floats,
    resampled: Floats,
    sd: Floats | None = None,
    weights: tuple[Floats, Floats] | None = None,
) -> LossFit:
    """The law of the minima `loss` (P,), nats at ln C `log_c` (P,), and of `resampled` (S, P).

    `sd` (P,) are their standard errors in nats. Where the minima scatter about the law by more, the
    resamples are widened to that. `weights` (P,) and (S, P), in place of `sd`, count the points.
    At least two different budgets; NaN resampled minima are left out.
    """
    own, drawn = weights or (_weights(loss, sd), None)
    law = fit_loss_law(log_c, loss, sd, own)
    if sd is not None:
        resampled = loss + _excess_scatter(log_c, loss, own) * (resampled - loss)
    drawn = np.where(np.isnan(resampled), 0.0, own if drawn is None else drawn)
    free = len(np.unique(log_c[own > 0])) > 2
    laws = fit_loss_laws(log_c, resampled, drawn, floor=free)
    in_form = laws if law.floor or not free else fit_loss_laws(log_c, resampled, drawn, floor=False)
    return LossFit(law, laws, in_form, _warnings(log_c, loss, sd, own, law))


def fit_loss_law(
    log_c: Floats, loss: Floats, sd: Floats | None = None, weights: Floats | None = None
) -> LossLaw:
    """The power law through the minima, or the law with a floor where it fits better than noise.

    One-sided: the floor must lower the weighted squares by what noise alone does in `LEVEL` of
    cases; against `sd`, or the scatter about the law if that is larger or `sd` unknown.
    """
    own = _weights(loss, sd) if weights is None else weights
    power = fit_loss_laws(log_c, loss[None], own[None], floor=False)
    used = own > 0
    if len(np.unique(log_c[used])) < MIN_BUDGETS:
        return power.first
    freedom = int(used.sum()) - 3
    floor = fit_loss_laws(log_c, loss[None], own[None])
    without, least = (_squares(log_c, loss, own, law.first) for law in (power, floor))
    noise = least / freedom if sd is None else max(1.0, least / freedom)
    root = np.sqrt(max(without - least, 0.0) / max(noise, 1e-300))
    from scipy import special  # which reading a law does not need

    chance = special.stdtr(freedom, -root) if sd is None else special.ndtr(-root)
    return floor.first if chance < LEVEL else power.first


def fit_loss_laws(
    log_c: Floats, loss: Floats, weights: Floats | None = None, *, floor: bool = True
) -> LossLaws:
    """The least-squares laws of S series `loss` (S, P) at ln C `log_c` (P,); `weights` (S, P).

    E ≥ 0 and k ≥ 0 are linear given c, so only c is searched (variable projection): a scan, then
    regula falsi (Illinois) on the derivative of the squares. NaN for series without two distinct C
    of positive weight.
    """
    w = np.ones_like(loss) if weights is None else weights
    y = np.where(w > 0, loss, 0.0)
    t = log_c - log_c.mean()
    far = np.where(w > 0, t, -np.inf).max(axis=1) > np.where(w > 0, t, np.inf).min(axis=1)
    wy = w * y
    sums = w.sum(axis=1), wy.sum(axis=1)
    u = np.exp(EXPONENTS[:, None] * t).T
    e, k = _linear(sums, w @ u, w @ u**2, wy @ u, floor)
    squares = -k * (wy @ u) - e * sums[1][:, None]  # less Σ w·y², at a least-squares E and k
    best = squares.argmin(axis=1)
    ends = [EXPONENTS[np.clip(best + i, 0, len(EXPONENTS) - 1)] for i in (-1, 1)]
    slopes = [_at(c, t, w, wy, sums, floor)[0] for c in ends]
    bracketed = slopes[0] * slopes[1] < 0
    ((one, f), (other, g)) = zip(ends, slopes, strict=True)
    for _ in range(STEPS):
        with np.errstate(divide="ignore", invalid="ignore"):
            c = np.where(bracketed & (g != f), (one * g - other * f) / (g - f), other)
        h = _at(c, t, w, wy, sums, floor)[0]
        crossed = h * g < 0
        one, f = np.where(crossed, other, one), np.where(crossed, g, f / 2)
        other, g = c, h
    c = np.where(bracketed, other, EXPONENTS[best])
    _, e, k = _at(c, t, w, wy, sums, floor)
    with np.errstate(divide="ignore"):
        log_k = np.log(k) - c * log_c.mean()
    return LossLaws(*(np.where(far, x, np.nan) for x in (e, log_k, c)))


def _at(
    c: Floats, t: Floats, w: Floats, wy: Floats, sums: tuple[Floats, Floats], floor: bool
) -> tuple[Floats, Floats, Floats]:
    """d(squares)/dc up to a positive factor, E and k (each (S,)) of the best E + k·e^(c·t)."""
    u = np.exp(c[:, None] * t)
    wu = w * u
    wuy = np.einsum("sp,sp->s", wy, u)
    e, k = _linear(sums, wu.sum(axis=1), np.einsum("sp,sp->s", wu, u), wuy, floor)
    left = wy - e[:, None] * w - k[:, None] * wu
    return -k * np.einsum("sp,sp,p->s", left, u, t), e, k


def _linear(
    sums: tuple[Floats, Floats], wu: Floats, wuu: Floats, wuy: Floats, floor: bool
) -> tuple[Floats, Floats]:
    """The best E ≥ 0 and k ≥ 0 from `sums` Σw and Σwy (S,) and Σwu, Σwu², Σwuy (S,) or (S, G)."""
    total, wy = (x.reshape(-1, *[1] * (wu.ndim - 1)) for x in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = np.maximum((wuy - wy * wu / total) / (wuu - wu**2 / total), 0.0)
        e = (wy - k * wu) / total
        free = (e > 0) & floor
        return np.where(free, e, 0.0), np.where(free, k, wuy / wuu)


def _weights(loss: Floats, sd: Floats | None) -> Floats:
    """1/sd²; no minimum counts as known ten times better than the median one."""
    if sd is None:
        return np.ones_like(loss)
    return 1 / np.maximum(sd, max(SMALLEST_SD, 0.1 * float(np.median(sd)))) ** 2


def _squares(log_c: Floats, loss: Floats, weights: Floats, law: LossLaw) -> float:
    return float((weights * (loss - law(np.exp(log_c))) ** 2).sum())


def _excess_scatter(log_c: Floats, loss: Floats, weights: Floats) -> float:
    """√(χ²/ν) of the minima about the best law, at least 1."""
    law = fit_loss_laws(log_c, loss[None], weights[None]).first
    freedom = len(loss) - (3 if law.floor else 2)
    return max(1.0, _squares(log_c, loss, weights, law) / freedom) ** 0.5 if freedom > 0 else 1.0


def _warnings(
    log_c: Floats, loss: Floats, sd: Floats | None, weights: Floats, law: LossLaw
) -> list[str]:
    used = weights > 0
    log_c, loss, weights = log_c[used], loss[used], weights[used]
    budgets = np.unique(log_c)
    if len(budgets) < MIN_BUDGETS:
        return [
            f"{len(budgets)} budgets cannot show a floor of the loss: L(C) is a power law, and "
            "beyond the largest budget the loss may be higher"
        ]
    if law.floor or _bend(log_c, loss, sd, weights) > NormalDist().inv_cdf(LEVEL):
        return []
    below = log_c < budgets[-1]
    others = fit_loss_laws(log_c[below], loss[None, below], weights[None, below], floor=False)
    largest = float(np.exp(budgets[-1]))
    gap = float(others(largest)[0] - loss[~below].mean())
    return [
        f"the minima fall faster than a power law at the largest budgets: that at C={largest:.3g} "
        f"lies {gap:.3f} nats below a power law through the others; a floor fits no better, and a "
        "prediction beyond it rests on a power law through all"
    ]


def _bend(log_c: Floats, loss: Floats, sd: Floats | None, weights: Floats) -> float:
    """The curvature of ln L in ln C over its standard error; negative: the fall steepens."""
    root = np.sqrt(weights) * loss
    t = (log_c - log_c.mean()) / np.ptp(log_c)
    design = np.vander(t, 3) * root[:, None]
    solver = np.linalg.pinv(design)
    coefficients = solver @ (root * np.log(loss))
    left = float(((root * np.log(loss) - design @ coefficients) ** 2).sum()) / (len(loss) - 3)
    noise = left if sd is None else max(1.0, left)
    return float(coefficients[0] / max(np.sqrt(noise) * np.linalg.norm(solver[0]), 1e-300))


def loss_equation(law: LossLaw | None, resampled: LossLaws | None, level: float) -> Equation:
    """k*C^c, or E + k*C^c where the law has a floor; unknown without a law."""
    form = "E + k*C^c" if law and law.floor else "k*C^c"
    names = ["k", "c"] if form == "k*C^c" else ["E", "k", "c"]
    if law is None or resampled is None or not np.isfinite(law.exponent):
        return Equation(form, dict.fromkeys(names), dict.fromkeys(names), level)
    with np.errstate(over="ignore"):
        values = {"E": law.floor, "k": float(np.exp(law.log_k)), "c": law.exponent}
        drawn = {"E": resampled.floor, "k": np.exp(resampled.log_k), "c": resampled.exponent}
    interval = {name: percentile_interval(drawn[name], level) for name in names}
    return Equation(form, {name: values[name] for name in names}, interval, level)


def loss_law_of(equation: Equation) -> LossLaw | None:
    """The law of an equation of either form; None where it is unknown."""
    floor, k, c = (equation.parameters.get(name, 0.0) for name in ("E", "k", "c"))
    return None if floor is None or k is None or c is None else LossLaw(floor, float(np.log(k)), c)
