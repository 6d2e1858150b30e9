"""The data-constrained law from learning curves whose corpora differ, size by size.

Where repeated and fresh tokens come from different corpora, each validated on its own, losses are
shifted by an unknown offset. So for each size the gap between the curve on U unique tokens and the
curve on fresh tokens, at equal tokens and under the same schedule, is fitted by

    gap(D) = offset + L_N(D') − L_N(D),   D' = U + U·R*_D·(1 − exp(−R_D/R*_D))

(Muennighoff et al. 2023, eq. 5), with L_N(D) of `reference`. The offset is the mean gap in
a window before anything is repeated. R*_N would shift the gap by a constant, as the offset does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import many
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.repeated.details import OffsetRow
from plm_scaling.laws.repeated.model import effective_tokens, lowest_on_grid, r_grid
from plm_scaling.laws.repeated.overfit import KAPPA, Overfit
from plm_scaling.laws.repeated.reference import MIN_RUNS, Reference, fit_reference
from plm_scaling.laws.stats.blocks import block_length, moving_blocks, rms, smoothed
from plm_scaling.laws.stats.intervals import Floats, multiplicities
from plm_scaling.laws.stats.noise import noise_of

WINDOWS = ((0.3, 1.0), (0.75, 1.0))  # epochs; the first gives the value, both the interval
MIN_WINDOW = 3
GRID_POINTS = 160
LAYERS = 10  # resampled reference curves per window; each is tabulated once
PARTS = 30  # stretches whose means show what the form misses, with evaluation noise averaged out
TURN_UP = 5.0  # standard errors by which the held-out loss must end above its lowest stretch
EVALUATIONS_PER_LOSS = 5  # of a run's final loss


@dataclass(frozen=True)
class RepeatedCurve:
    """One repeated run and the fresh runs of its size; losses in nats/token, all else in tokens.

    `tokens` and `loss` (n,): held-out curve of the repeated run. `fresh_tokens`, `fresh_loss`
    (m,): curve of a run of the same size and schedule on fresh tokens. `decayed_tokens`,
    `decayed_loss` (k,): end points of fresh runs of this size, k ≥ 3.
    """

    run_id: str
    n_params: float
    unique_tokens: float
    tokens: Floats
    loss: Floats
    fresh_run_id: str
    fresh_tokens: Floats
    fresh_loss: Floats
    decayed_tokens: Floats
    decayed_loss: Floats

    def __post_init__(self) -> None:
        """Raises LawError for losses or tokens that are not positive finite numbers."""
        for part in ("", "fresh_", "decayed_"):
            names = (f"{part}tokens", f"{part}loss")
            arrays = check_runs(**{name: getattr(self, name) for name in names})
            for name, array in zip(names, arrays, strict=True):
                object.__setattr__(self, name, array)


@dataclass
class Gap:
    """The gap of one curve and the table of its misfit; see `RepeatedCurve`."""

    curve: RepeatedCurve
    tokens: Floats
    values: Floats
    reference: Reference
    noise: float
    grid: Floats = field(default_factory=lambda: r_grid(GRID_POINTS))

    @classmethod
    def of(cls, curve: RepeatedCurve) -> "Gap":
        """Raises LawError if the curves do not overlap enough before and after the first epoch."""
        fresh = len(np.unique(curve.decayed_tokens))
        if fresh < MIN_RUNS:
            raise LawError(
                f"run {curve.run_id}: {many(fresh, 'fresh run')} of its "
                f"size; L_N(D) needs at least {MIN_RUNS} of different length"
            )
        both = curve.tokens <= curve.fresh_tokens.max()
        both &= curve.tokens >= curve.fresh_tokens.min()
        tokens = curve.tokens[both]
        values = curve.loss[both] - np.interp(tokens, curve.fresh_tokens, curve.fresh_loss)
        gap = cls(
            curve,
            tokens,
            values,
            fit_reference(curve.decayed_tokens, curve.decayed_loss[None]),
            noise_of(values) if len(values) > 1 else np.nan,
        )
        counts = [int(gap.inside(w).sum()) for w in WINDOWS] + [int(gap.repeated.sum())]
        if min(counts) < MIN_WINDOW:
            raise LawError(
                f"run {curve.run_id}: {counts[0]}, {counts[1]} and {counts[2]} evaluations shared "
                f"with {curve.fresh_run_id} in epochs 0.3–1, 0.75–1 and beyond 1; at least "
                f"{MIN_WINDOW} are needed in each: evaluate more often"
            )
        return gap

    @property
    def epochs(self) -> Floats:
        """Passes over the unique tokens at each evaluation."""
        return self.tokens / self.curve.unique_tokens

    @property
    def repeated(self) -> NDArray[np.bool_]:
        """Mask of the evaluations after the first epoch, which the law is fitted to."""
        return self.epochs > 1

    def inside(self, window: tuple[float, float]) -> NDArray[np.bool_]:
        """Mask of the evaluations in a window of epochs."""
        return (self.epochs > window[0]) & (self.epochs <= window[1])

    def offset(self, window: tuple[float, float]) -> float:
        """The gap before anything was repeated."""
        return float(self.values[self.inside(window)].mean())

    def shapes(self, grid: Floats, reference: Reference, layer: int = 0) -> Floats:
        """L_N(D') − L_N(D) at the repeated evaluations for each R*, (G, n)."""
        tokens = self.tokens[self.repeated]
        effective = effective_tokens(tokens, self.curve.unique_tokens, grid[:, None])
        return reference(effective, layer) - reference(tokens, layer)

    def misfit(self, offset: float) -> Floats:
        """Mean square (nats²) over the repeated evaluations for each R* of `grid`."""
        return ((self.excess(offset) - self.shapes(self.grid, self.reference)) ** 2).mean(axis=1)

    def worth(self, r_star: float) -> Floats:
        """What the form adds at the repeated evaluations, nats; R* is kept in the grid."""
        r_star = float(np.clip(r_star, self.grid[0], self.grid[-1]))
        return self.shapes(np.array([r_star]), self.reference)[0]

    def excess(self, offset: float) -> Floats:
        """The gap at the repeated evaluations beyond the offset, nats."""
        return self.values[self.repeated] - offset

    def best(self, offset: float, until: float = np.inf) -> float:
        """R* of least misfit over the evaluations up to `until` epochs; infinite at a limit."""
        kept = self.epochs[self.repeated] <= until
        errors = (self.excess(offset) - self.shapes(self.grid, self.reference))[:, kept]
        return float(lowest_on_grid((errors**2).mean(axis=1)[None], self.grid)[0])

    def rise(self) -> tuple[float, float, float]:
        """How far the repeated run's loss ends above its lowest stretch (nats), the standard error
        of that, and the epochs of the lowest stretch."""
        after = self.curve.tokens > self.curve.unique_tokens
        loss, epochs = self.curve.loss[after], self.curve.tokens[after] / self.curve.unique_tokens
        parts = smoothed(loss, PARTS)
        low = int(parts.argmin())
        error = noise_of(loss) * np.sqrt(2 * len(parts) / len(loss))
        return float(parts[-1] - parts[low]), float(error), float(smoothed(epochs, PARTS)[low])


def reference_noise(gaps: list[Gap]) -> float:
    """Standard deviation of a decayed run's loss around L_N(D), pooled over the sizes (nats).

    At least what evaluation noise leaves in the mean of a run's last evaluations, since three runs
    determine the three parameters of L_N and leave no residual.
    """
    by_size = {gap.curve.n_params: gap for gap in gaps}.values()
    freedom = sum(len(g.curve.decayed_loss) - 3 for g in by_size)
    squares = sum(float(g.reference.squares[0]) for g in by_size)
    least = float(np.median([g.noise for g in gaps])) / np.sqrt(2 * EVALUATIONS_PER_LOSS)
    return max(least, float(np.sqrt(squares / freedom)) if freedom > 0 else 0.0)


def resampled_excess(
    gap: Gap, fits: Sequence[Floats], bootstrap: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.intp], Floats, str, int]]:
    """For each window of the offset: which half of the resamples it has, their excess (R, n) around
    what of `fits` (n,) belongs to it, the window's name, and the evaluations of a block.

    Residuals are drawn in moving blocks, for neighbouring evaluations share what the form misses.
    """
    halves = np.array_split(np.arange(bootstrap), len(WINDOWS))
    for window, rows, fit in zip(WINDOWS, halves, fits, strict=True):
        residuals = gap.excess(gap.offset(window)) - fit
        length = block_length(residuals)
        inside = int(gap.inside(window).sum())
        noise = moving_blocks(residuals, length, (len(rows), inside + len(residuals)), rng)
        shifts = noise[:, :inside].mean(axis=1)  # of the offset, the true one drops out
        targets = fit + noise[:, inside:] - shifts[:, None]
        yield rows, targets, f"{window[0]:g}-{window[1]:g}", length


def resample_misfits(
    gap: Gap, spread: float, bootstrap: int, seed: int
) -> tuple[Floats, dict[str, int]]:
    """Mean-square misfit of each resample on the gap's grid, (bootstrap, G), up to a constant per
    resample; the reference is resampled with noise `spread` on its runs."""
    rng = np.random.default_rng(seed)
    out = np.empty((bootstrap, len(gap.grid)))
    lengths = {}
    points = gap.curve.decayed_tokens
    fits = [gap.worth(gap.best(gap.offset(window))) for window in WINDOWS]
    for rows, targets, window, length in resampled_excess(gap, fits, bootstrap, rng):
        lengths[window] = length
        losses = gap.reference(points) + spread * rng.standard_normal((LAYERS, len(points)))
        layers = fit_reference(points, losses)
        for layer, part in enumerate(np.array_split(np.arange(len(rows)), LAYERS)):
            shapes = gap.shapes(gap.grid, layers, layer)
            cross = targets[part] @ shapes.T
            out[rows[part]] = ((shapes**2).sum(axis=1) - 2 * cross) / gap.repeated.sum()
    return out, lengths


def resample_penalties(gaps: list[Gap], over: Overfit, bootstrap: int, seed: int) -> Floats:
    """c and κ (bootstrap, 2) of resampled curves and of resampled evaluations along them."""
    rng = np.random.default_rng(seed)
    repetitions = [gap.epochs[gap.repeated] - 1 for gap in gaps]
    top = max(r.max() for r in repetitions)
    counts = multiplicities(len(gaps), bootstrap, seed)
    cross, squares = np.zeros((2, bootstrap, len(KAPPA)))
    for k, (gap, r) in enumerate(zip(gaps, repetitions, strict=True)):
        shapes = (r / top) ** KAPPA[:, None]
        squares += counts[:, k, None] * (shapes**2).mean(axis=1)
        for rows, targets, _, _ in resampled_excess(gap, [over(r)] * 2, bootstrap, rng):
            cross[rows] += counts[rows, k, None] * (targets @ shapes.T) / len(r)
    c = np.maximum(cross / squares, 0)
    best = (c * cross).argmax(axis=1)
    c = c[np.arange(bootstrap), best]
    return np.where(c > 0, [c * top ** -KAPPA[best], KAPPA[best]], np.nan).T


def direct_inversion(gap: Gap, offset: float) -> float | None:
    """D'/U at the end without the form of D': the fresh tokens that give the final gap.

    None where no number of tokens of the reference does.
    """
    last = gap.values[-max(EVALUATIONS_PER_LOSS, len(gap.values) // 50) :].mean() - offset
    tokens = gap.reference.tokens_at(float(gap.reference(gap.tokens[-1:])[0] + last))
    return tokens / gap.curve.unique_tokens if np.isfinite(tokens) else None


def offset_row(name: str, gap: Gap, offset: float) -> OffsetRow:
    """One line of the offset sensitivity."""
    r_star = gap.best(offset)
    residuals = gap.excess(offset) - gap.worth(r_star)
    return {
        "offset_from": name,
        "offset_nats": offset,
        "least_misfit_R_D": r_star if np.isfinite(r_star) else None,
        "rms_nats": rms(residuals),
        "rms_smoothed_nats": rms(smoothed(residuals, PARTS)),
    }
