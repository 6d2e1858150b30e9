"""Effectively transferred tokens D_t (Hernandez et al. 2021, eq. 1.1) from pairs of curves.

D_t(D_f) is how many tokens more the run from scratch needs to reach the loss that the transferred
run has after D_f tokens. Over sizes, D_t = k·D_f^a·N^b.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit
from typing_extensions import TypedDict

from plm_scaling.common.progress import many
from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats, percentile_interval
from plm_scaling.laws.transfer.pairs import Curve, TransferPair

STARTS = (0.05, 0.1, 0.2, 0.4)  # share of the transferred run's tokens from which it is matched
START = 0.1  # of the value reported: past the warm-up, which takes up to 5 %
POINTS = 12
WINDOW = 0.08  # half-width of the smoothing in ln tokens
MIN_INSIDE = 3
SINGULAR = 1e10  # condition number of a resample whose points lie on a line
FORM = "k*D_f^a*N^b"
NAMES = ("k", "a", "b")


def widening(pairs: int, level: float) -> float:
    """How much further from the estimate than a percentile of resampled pairs the end of an
    interval lies: that of Student's t, as resamples of few scatter less than what they are drawn
    from. NaN where two pairs or fewer leave no degree of freedom about a law.
    """
    freedom = pairs - 2
    if freedom < 1:
        return math.nan
    share = (1 + level) / 2
    return float(stdtrit(freedom, share)) / float(ndtri(share)) * math.sqrt(pairs / freedom)


@dataclass(frozen=True)
class Matches:
    """Matched points of all pairs: index of the pair, D_f, D_t (tokens) and N, each (m,);
    `without` counts points where the scratch run is ahead, so that D_t would be negative, `tried`
    the pairs that have curves."""

    pair: Floats
    fine_tuned: Floats
    transferred: Floats
    n_params: Floats
    without: int
    tried: int


def smooth_at(curve: Curve, tokens: Floats) -> Floats:
    """The curve at `tokens`, by a line in ln tokens through the evaluations within WINDOW (or the
    nearest three); unlike a mean, it does not lag behind a falling curve."""
    dx = np.log(curve.tokens) - np.log(tokens)[:, None]
    third = np.sort(np.abs(dx), axis=1)[:, MIN_INSIDE - 1]
    near = (np.abs(dx) <= np.maximum(WINDOW, third)[:, None]).astype(float)
    count = near.sum(axis=1)
    mean_x, mean_loss = (near * dx).sum(axis=1) / count, near @ curve.loss / count
    spread = (near * dx**2).sum(axis=1) / count - mean_x**2
    slope = ((near * dx) @ curve.loss / count - mean_x * mean_loss) / spread
    return mean_loss - slope * mean_x


def match_pairs(pairs: list[TransferPair], start: float = START) -> Matches:
    """D_t from share `start` of each transferred run on, as far as its scratch partner got as
    low: POINTS values of D_f, even in the logarithm."""
    rows, without, tried = [], 0, 0
    for k, pair in enumerate(pairs):
        if min(len(pair.curve.loss), len(pair.scratch_curve.loss)) < 10:
            continue
        tried += 1
        fine_tuned = np.geomspace(start, 1.0, POINTS) * pair.curve.tokens[-1]
        fine_tuned = fine_tuned[fine_tuned >= pair.curve.tokens[MIN_INSIDE - 1]]
        loss = smooth_at(pair.curve, fine_tuned)
        known = pair.scratch_curve.tokens
        grid = np.geomspace(known[MIN_INSIDE - 1], known[-1], 200)
        falling = np.minimum.accumulate(smooth_at(pair.scratch_curve, grid))
        reached = (loss >= falling[-1]) & (loss <= falling[0])
        log_needed = np.interp(-loss[reached], -falling, np.log(grid))
        gained = np.exp(log_needed) - fine_tuned[reached]
        without += int((gained <= 0).sum())
        for d_f, d_t in zip(fine_tuned[reached], gained, strict=True):
            if d_t > 0:
                rows.append((k, d_f, d_t, pair.n_params))
    table = np.array(rows).reshape(-1, 4).T
    return Matches(table[0], table[1], table[2], table[3], without, tried)


def fit_transferred(
    matches: Matches, counts: Floats, level: float
) -> tuple[Equation, float | None, list[str]]:
    """D_t = k·D_f^a·N^b by least squares in logarithms: equation, rms of ln D_t, warnings.

    `counts` (resamples, pairs) is how often each pair is drawn: points of one curve are no
    independent runs. Two pairs with points leave no interval.
    """
    none: dict[str, Any] = dict.fromkeys(NAMES)
    sizes = len(np.unique(matches.n_params))
    if sizes < 2 or len(matches.pair) < 4:
        why = (
            f"D_t is not identified: {many(len(matches.pair), 'matched point')} "
            f"from {many(sizes, 'size')}; "
            "curves of pairs of at least two sizes are needed"
        )
        return Equation(FORM, none, dict(none), level), None, [why]
    one = np.ones_like(matches.fine_tuned)
    design = np.stack([one, np.log(matches.fine_tuned), np.log(matches.n_params)], axis=1)
    target = np.log(matches.transferred)
    centre = design.mean(axis=0) * np.array([0, 1, 1])
    weights = np.vstack([np.ones((1, counts.shape[1])), counts])[:, matches.pair.astype(int)]
    weights[1:][_sizes_drawn(matches, weights[1:]) < 2] = np.nan
    solution = _weighted(design - centre, target, weights)
    matched = len(np.unique(matches.pair))
    solution[1:] = solution[0] + widening(matched, level) * (solution[1:] - solution[0])
    on_a_line = np.isnan(solution[0]).any()
    with np.errstate(over="ignore"):
        solution[:, 0] = np.exp(solution[:, 0] - solution[:, 1:] @ centre[1:])
    k, a, b = map(float, solution[0])
    if not np.isfinite(solution[0]).all() or k == 0:
        why = (
            "tokens and size rise together in the matched points"
            if on_a_line
            else f"k is too large or too small for a number (a = {a:.3g}, b = {b:.3g})"
        )
        said = [f"D_t is not identified: {why}"]
        return Equation(FORM, none, dict(none), level), None, said
    interval = {n: percentile_interval(solution[1:, i], level) for i, n in enumerate(NAMES)}
    residuals = target - np.log(k) - design[:, 1:] @ np.array([a, b])
    warnings = []
    if (pairs := counts.shape[1]) > matched:
        warnings.append(
            f"D_t rests on {matched} of {pairs} pairs: the run from scratch of the others does not "
            "reach the losses of its partner"
        )
    if a < 0:
        ends = interval["a"]
        lost = "the head start is lost again, it is not a stock of tokens"
        if ends is not None and ends[1] > 0:
            lost = "its interval holds 0, so whether the head start is lost again is not shown"
        warnings.append(f"D_t falls as training goes on (a = {a:.2f}): {lost}")
    if matches.without:
        warnings.append(
            f"at {many(matches.without, 'matched point')} the run from scratch is ahead; D_t would "
            "be negative there and they are left out, which favours transfer"
        )
    equation = Equation(FORM, {"k": k, "a": a, "b": b}, interval, level)
    return equation, float(np.sqrt((residuals**2).mean())), warnings


def _sizes_drawn(matches: Matches, weights: Floats) -> Floats:
    """How many sizes take part in each resample."""
    drawn = [(weights[:, matches.n_params == n] > 0).any(axis=1) for n in set(matches.n_params)]
    return np.sum(drawn, axis=0)


def _weighted(design: Floats, target: Floats, weights: Floats) -> Floats:
    """Least-squares coefficients (S, 3) for weights (S, m); NaN where these are or the points do
    not determine them."""
    usable = np.flatnonzero(np.isfinite(weights[:, 0]))
    out = np.full((len(weights), design.shape[1]), np.nan)
    matrix = np.einsum("sm,mi,mj->sij", weights[usable], design, design)
    known = np.linalg.cond(matrix) < SINGULAR
    usable, matrix = usable[known], matrix[known]
    vector = np.einsum("sm,mi,m->si", weights[usable], design, target)
    out[usable] = np.linalg.solve(matrix, vector[:, :, None])[:, :, 0]
    return out


class StartRow(TypedDict):
    """D_t = k·D_f^a·N^b from a share of the transferred run on; `rms_ln` of ln D_t."""

    from_share: float
    n_points: int
    rms_ln: float | None
    k: float | None
    a: float | None
    b: float | None


def start_rows(pairs: list[TransferPair], level: float) -> list[StartRow]:
    """D_t fitted from each of STARTS on: how much rests on the choice of matched points."""
    rows: list[StartRow] = []
    for start in STARTS:
        matches = match_pairs(pairs, start)
        equation, rms, _ = fit_transferred(matches, np.empty((0, len(pairs))), level)
        k, a, b = (equation.parameters[name] for name in NAMES)
        n_points = len(matches.pair)
        rows.append(StartRow(from_share=start, n_points=n_points, rms_ln=rms, k=k, a=a, b=b))
    return rows
