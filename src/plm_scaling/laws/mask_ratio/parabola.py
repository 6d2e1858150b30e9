"""Parabolas in ln ratio with one vertex for several sizes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.stats.intervals import Floats

MIN_RATIOS = 4  # three ratios fit any parabola exactly


@dataclass(frozen=True)
class Ladder:
    """The ratios of one size (N, D): `ratio` and `loss` (n,), and `noise`, nats.

    `windows` (W, n) are the sets of ratios that a parabola may be fitted to, the widest first.
    """

    n_params: float
    tokens: float
    ratio: Floats
    loss: Floats
    noise: float
    windows: NDArray[np.bool_]

    @classmethod
    def of(
        cls, n_params: float, tokens: float, ratio: Floats, loss: Floats, noise: Floats, near: float
    ) -> "Ladder":
        """Choose the windows among the neighbours of the best whose loss is within `near` of it."""
        known = noise[np.isfinite(noise)]
        level = float(np.sqrt((known**2).mean())) if len(known) else 0.0
        distinct = np.unique(ratio)
        lowest = np.array([loss[ratio == r].min() for r in distinct])
        best = int(lowest.argmin())
        first, last = best, best
        while first > 0 and lowest[first - 1] <= lowest[best] + near:
            first -= 1
        while last < len(distinct) - 1 and lowest[last + 1] <= lowest[best] + near:
            last += 1
        while last - first + 1 < MIN_RATIOS:  # steep sides: take neighbours all the same
            first, last = max(0, first - 1), min(len(distinct) - 1, last + 1)
        pairs = [
            (i, j)
            for i in range(first, max(best, first + 1))
            for j in range(min(best + 1, last), last + 1)
            if j - i + 1 >= MIN_RATIOS
        ]
        pairs.sort(key=lambda pair: pair[0] - pair[1])
        windows = [(ratio >= distinct[i]) & (ratio <= distinct[j]) for i, j in pairs]
        return cls(n_params, tokens, ratio, loss, level, np.array(windows))

    @property
    def flops(self) -> float:
        """6·N·D."""
        return 6 * self.n_params * self.tokens


@dataclass(frozen=True)
class Fit:
    """The common parabola through the widest windows of some sizes.

    `inside`: it opens upwards and its vertex lies between the ratios used. `least_loss` is the loss
    at the vertex for the first size.
    """

    log_ratio: float
    curvature: float
    inside: bool
    squares: float
    freedom: int
    least_loss: float

    @property
    def ratio(self) -> float | None:
        """The best ratio; None where it is not inside."""
        return float(np.exp(self.log_ratio)) if self.inside else None

    @property
    def rms(self) -> float | None:
        """Residual scatter over the degrees of freedom, nats."""
        return float(np.sqrt(self.squares / self.freedom)) if self.freedom > 0 else None


def fit_vertices(ladders: list[Ladder]) -> Fit:
    """Least squares of loss on ln ratio and its square, with an intercept per size."""
    x, y, group = _stack(ladders)
    weights = np.concatenate([ladder.windows[0] for ladder in ladders]).astype(float)[None]
    slope, curvature, level = _solve(x, y[None], weights, group)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = float(-slope[0] / (2 * curvature[0]))
    used = weights[0] > 0
    fitted = level[0, group] + slope[0] * x + curvature[0] * x**2
    low, high = x[used].min(), x[used].max()
    return Fit(
        log_ratio=log_ratio,
        curvature=float(curvature[0]),
        inside=bool(curvature[0] > 0 and low < log_ratio < high),
        squares=float(((y - fitted)[used] ** 2).sum()),
        freedom=int(used.sum()) - 2 - len(ladders),
        least_loss=float(level[0, 0] - curvature[0] * log_ratio**2),
    )


def resample_vertices(
    ladders: list[Ladder], fit: Fit, resamples: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """ln ratio (NaN without a minimum) and curvature, each (resamples,), of noisy copies of the
    losses, each with windows drawn at random.

    Noise is added to the measured losses, not to those of the widest fit, so that a narrower
    window shows where it would put the vertex.
    """
    x, y, group = _stack(ladders)
    chi = rng.chisquare(max(fit.freedom, 1), size=(resamples, 1))
    scatter = (fit.rms or 0.0) * np.sqrt(max(fit.freedom, 1) / chi)
    floor = np.array([ladder.noise for ladder in ladders])[group]
    weights = np.concatenate(
        [
            ladder.windows[rng.integers(len(ladder.windows), size=resamples)].astype(float)
            for ladder in ladders
        ],
        axis=1,
    )
    noisy = y + np.maximum(scatter, floor) * rng.standard_normal((resamples, len(y)))
    slope, curvature, _ = _solve(x, noisy, weights, group)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.where(curvature > 0, -slope / (2 * curvature), np.nan)
    return log_ratio, curvature


def _stack(ladders: list[Ladder]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """ln ratio, loss and number of the size, each over all sizes."""
    group = np.repeat(np.arange(len(ladders)), [len(ladder.loss) for ladder in ladders])
    x = np.log(np.concatenate([ladder.ratio for ladder in ladders]))
    return x, np.concatenate([ladder.loss for ladder in ladders]), group


def _solve(
    x: Floats, y: Floats, weights: Floats, group: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Slope and curvature (S,) and intercepts (S, G) of weighted parabolas; y, weights (S, n)."""
    member = np.eye(group.max() + 1)[group]
    total = weights @ member

    def centred(values: Floats) -> tuple[Floats, Floats]:
        mean = ((weights * values) @ member) / total
        return values - mean[:, group], mean

    (u, mean_u), (v, mean_v), (z, mean_z) = centred(x), centred(x**2), centred(y)
    uu, uv, vv = ((weights * a * b).sum(axis=1) for a, b in ((u, u), (u, v), (v, v)))
    uz, vz = (weights * u * z).sum(axis=1), (weights * v * z).sum(axis=1)
    determinant = uu * vv - uv**2
    slope, curvature = (uz * vv - vz * uv) / determinant, (vz * uu - uz * uv) / determinant
    return slope, curvature, mean_z - slope[:, None] * mean_u - curvature[:, None] * mean_v
