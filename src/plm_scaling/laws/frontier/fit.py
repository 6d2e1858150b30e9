"""The compute-efficient frontier: the best run at each compute, from whole learning curves.

The study's own rule (`plm_scaling.cheng2024.frontier`), done so that it can be trusted: losses
averaged over five evaluations and compared at equal compute, D = C/(6·N), power laws N = k·C^a and
D = k·C^b fitted in log-log, L(C) as in `stats.loss_law`, and points left out where the best run is
the smallest or largest that got there. `variants` holds the fits that keep those points, that weigh
by size (linear space) or that leave out the runs of largest compute: how much rests on a few.

Intervals: runs are drawn with replacement and the envelope is taken again. A frontier is made of
minima, so a resample without the best run has a slightly worse one; the intervals are rough.
"""

from typing import Any, NotRequired

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typing_extensions import TypedDict

from plm_scaling.common.progress import many
from plm_scaling.laws.checks import check_lengths, check_runs, compute_warning
from plm_scaling.laws.details import (
    Bootstrap,
    HeldOutOptimum,
    NotAvailable,
    held_out_loss,
    held_out_size,
    not_available,
)
from plm_scaling.laws.frontier.envelope import REACH, SMOOTHING, Envelope, build_envelope
from plm_scaling.laws.frontier.variants import fit_linear, fit_log
from plm_scaling.laws.points import columns
from plm_scaling.laws.result import Equation, EquationJson, LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.frontier_table import FrontierRow, frontier_rows
from plm_scaling.laws.stats.intervals import (
    NO_BOOTSTRAP,
    Floats,
    check_settings,
    multiplicities,
    percent,
)
from plm_scaling.laws.stats.loss_law import LossFit, fit_loss
from plm_scaling.laws.stats.power import PowerLaws, power_equations
from plm_scaling.laws.status import Check, Evidence

METHOD = (
    f"at each run's final compute the run with the lowest loss (mean of {SMOOTHING} evaluations, "
    f"linear in ln C; logs may end {percent(REACH)} earlier), unless it is the smallest or largest "
    "that got there; power laws by least squares in log-log, and of L by least squares in nats, "
    "with a floor where an F test shows one; intervals by a bootstrap over runs; "
    "residual_rms and objective_value (sum of squares) of ln N"
)
SPACES = {"log": fit_log, "linear": fit_linear}
SHIFT_WARNING = 0.02  # exponents this far apart lead to other plans
INSIDE = "inside the sizes"
Fits = dict[tuple[str, str], tuple[int, dict[str, Equation]]]  # by points and space


def frontier_points(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> dict[str, Any]:
    """The arguments of `fit_frontier` from tables as `read_runs` and `curves.parquet` give.

    `runs` are the usable ones of one objective. Without `curves` a run is its final point.
    """
    rows = runs
    if curves is not None:
        valid = curves[(curves["split"] == "valid") & curves["loss"].notna()]
        rows = valid.merge(runs[["run_id", "n_params"]], on="run_id")
    arrays = columns(rows, "n_params", "tokens", "flops", "loss")
    return {"run": rows["run_id"].to_numpy(str), **arrays}


class EnvelopePoint(TypedDict):
    """The best run at one compute, of so many `candidates`; `inside` the sizes that got there."""

    flops: float
    run_id: str
    n_params: float
    tokens: float
    loss: float
    candidates: int
    inside: bool


class Variant(TypedDict):
    """The frontier fitted to other points or in another space (log or linear)."""

    source: str
    points: str
    space: str
    n_points: int
    N: EquationJson
    D: EquationJson
    L: EquationJson


class Details(TypedDict):
    """The tables of a frontier law."""

    envelope: list[EnvelopePoint]
    variants: list[Variant]
    frontier: list[FrontierRow]
    held_out: HeldOutOptimum | NotAvailable
    bootstrap: Bootstrap
    published: NotRequired[list[dict[str, Any]]]
    """The same by published procedures; of equations only form, k and the exponent."""


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of the `runs` that have points: see `study.laws`."""
    points = frontier_points(runs, curves)
    result = fit_frontier(**points, **settings.resampling)
    result.taken = set(points["run"])
    return result


def fit_frontier(
    run: NDArray[np.str_],
    n_params: Floats,
    tokens: Floats,
    flops: Floats,
    loss: Floats,
    *,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[Details]:
    """Fit N(C), D(C) and L(C) to the lower envelope of learning curves, all arrays of shape (n,).

    One entry per evaluation: the name of its run, the run's non-embedding parameters, tokens and
    FLOPs so far, held-out loss in nats/token; a run of which only the end is known has one. Points
    at less than two compute values give status not_identified and no parameters. Raises LawError on
    values that are not positive and finite.
    """
    check_settings(bootstrap, level)
    n_params, tokens, flops, loss = check_runs(
        n_params=n_params, tokens=tokens, flops=flops, loss=loss
    )
    check_lengths(run=run, loss=loss)
    envelope = build_envelope(run, n_params, flops, loss)
    once = np.ones((1, len(envelope.flops)))
    drawn = multiplicities(len(envelope.flops), bootstrap, seed)
    data, resampled = _Series.of(envelope, once), _Series.of(envelope, drawn)
    laws, samples = data.fit("log", data.inside), resampled.fit("log", resampled.inside)
    found = bool(np.isfinite(laws["N"].exponent[0]))
    law = {name: series.first for name, series in laws.items()}
    used = data.inside[0]
    equations = power_equations(law, samples, level)
    loss_fit = _fit_loss(data, resampled) if found else None
    if loss_fit:
        equations["L"] = loss_fit.equation(level)
    fitted = _fits(envelope, data, resampled, level)
    places = np.unique(np.stack([envelope.flops, data.y["N"][0]])[:, used], axis=1).shape[1]
    squares = float(((np.log(data.y["N"][0]) - np.log(law["N"](envelope.flops)))[used] ** 2).sum())
    warnings = _warnings(envelope, data, fitted, found, bootstrap)
    warnings += (loss_fit.warnings if loss_fit else []) + compute_warning(n_params, tokens, flops)
    held_out, limit = _held_out(envelope, data, resampled, level)
    return LawResult(
        law="frontier",
        method=METHOD,
        n_points=int(used.sum()),
        equations=equations,
        objective_value=squares if found else None,
        residual_rms=(
            float(np.sqrt(squares / (used.sum() - 2))) if found and used.sum() > 2 else None
        ),
        warnings=warnings,
        details={
            "envelope": _points(envelope, data),
            "variants": [
                {
                    "source": "envelope",
                    "points": points,
                    "space": space,
                    "n_points": n_points,
                    "N": equations["N"].to_json(),
                    "D": equations["D"].to_json(),
                    "L": equations["L"].to_json(),
                }
                for (points, space), (n_points, equations) in fitted.items()
            ],
            "frontier": (
                frontier_rows(envelope.flops, law, samples, level, loss_fit) if loss_fit else []
            ),
            "held_out": held_out,
            "bootstrap": {"kind": "runs", "resamples": bootstrap, "seed": seed},
        },
        evidence={"points": places if found else 0, **limit},
    )


class _Series:
    """The envelope of each resample: winners, N, D and L (S, R), and the weights (S, R)."""

    def __init__(self, envelope: Envelope, counts: Floats, best: NDArray[np.int64]) -> None:
        self.flops, self.weights, self.best = envelope.flops, counts, best
        n_params = envelope.n_params[best]
        loss = envelope.loss[np.arange(len(envelope.flops))[None, :], best]
        self.y = {"N": n_params, "D": envelope.flops / (6 * n_params), "L": loss}
        self.inside = envelope.inside(counts, best)

    @classmethod
    def of(cls, envelope: Envelope, counts: Floats) -> "_Series":
        return cls(envelope, counts, envelope.winners(counts))

    def fit(self, space: str, keep: NDArray[np.bool_]) -> dict[str, PowerLaws]:
        """N, D and L through the points in `keep`, (R,) or (S, R)."""
        weights = self.weights * keep
        return {name: SPACES[space](self.flops, y, weights) for name, y in self.y.items()}


def _fit_loss(data: _Series, resampled: _Series, where: NDArray[np.bool_] | bool = True) -> LossFit:
    """L(C) through the points inside the sizes that lie `where` (R,)."""
    own, drawn = (series.weights * series.inside * where for series in (data, resampled))
    losses = data.y["L"][0], resampled.y["L"]
    return fit_loss(np.log(data.flops), *losses, weights=(own[0], drawn))


def _fits(envelope: Envelope, data: _Series, resampled: _Series, level: float) -> Fits:
    """The same envelope with other points and in linear space; the first has the law's N
    and D, and its L without a floor."""
    flops = envelope.flops
    every = np.full(len(flops), True)
    subsets = {
        INSIDE: (data.inside, resampled.inside),
        "all": (every, every),
        "without the run of largest compute": (np.arange(len(flops)) < len(flops) - 1,) * 2,
        "without the decade of largest compute": (flops < flops[-1] / 10,) * 2,
    }
    fits = {}
    for points, (keep, keep_resampled) in subsets.items():
        for space in SPACES:
            laws = {name: series.first for name, series in data.fit(space, keep).items()}
            samples = resampled.fit(space, keep_resampled)
            n_points = int(np.broadcast_to(keep, data.weights.shape).sum())
            fits[points, space] = n_points, power_equations(laws, samples, level)
    return fits


def _points(envelope: Envelope, data: _Series) -> list[EnvelopePoint]:
    """The envelope, one row per compute value."""
    best = data.best[0]
    return [
        {
            "flops": float(envelope.flops[i]),
            "run_id": str(envelope.names[best[i]]),
            "n_params": float(data.y["N"][0, i]),
            "tokens": float(data.y["D"][0, i]),
            "loss": float(data.y["L"][0, i]),
            "candidates": int(candidates),
            "inside": bool(data.inside[0, i]),
        }
        for i, candidates in enumerate(envelope.candidates())
    ]


def _held_out(
    envelope: Envelope, data: _Series, resampled: _Series, level: float
) -> tuple[HeldOutOptimum | NotAvailable, Evidence]:
    """The best run at the largest compute, predicted from points below a tenth of it."""
    flops, largest = envelope.flops, float(envelope.flops[-1])
    below = flops < largest / 10
    used = data.inside[0] & below
    laws = data.fit("log", used)
    if not np.isfinite(laws["N"].exponent[0]):
        return not_available(
            f"{many(int(used.sum()), 'point')} below a tenth of the largest compute, "
            f"{largest:.3g} FLOPs; a power law needs two compute values"
        ), {}
    best, n = data.best[0, -1], float(laws["N"](largest)[0])
    fit = _fit_loss(data, resampled, below)
    loss = held_out_loss(float(envelope.loss[-1, best]), float(fit.law(largest)))
    interval = fit.interval(largest, level)
    result: HeldOutOptimum = {
        "status": Check.DONE,
        "fitted_on_flops": np.unique(flops[used]).tolist(),
        "predicted_at_flops": largest,
        "run_id": str(envelope.names[best]),
        "n_params": held_out_size(float(envelope.n_params[best]), n),
        "loss": loss,
    }
    if interval is None:
        return result, {}
    # the run is a draw, too: it lies about the law like those that the law was fitted to
    scatter = 2 * rms(data.y["L"][0, used] - fit.law(flops[used]))
    reach = (
        loss["predicted"] - interval[0]
        if loss["difference"] > 0
        else interval[1] - loss["predicted"]
    )
    return result, {
        "held_out": {
            "what": f"the held-out error of the loss at C={largest:.3g}",
            "value": loss["difference"],
            "allowed": float(np.hypot(reach, scatter)),
            "unit": "nats",
        }
    }


def _warnings(
    envelope: Envelope, data: _Series, fits: Fits, found: bool, bootstrap: int
) -> list[str]:
    edge = ~data.inside[0]
    warnings = []
    if edge.any():
        low, high = envelope.flops[edge].min(), envelope.flops[edge].max()
        warnings.append(
            f"at {int(edge.sum())} of {len(edge)} compute values (C={low:.3g} to {high:.3g}) the "
            "best run is the smallest or largest that got there; the law does not use them"
        )
    if not found:
        warnings.append("points inside the sizes at fewer than two compute values: no power law")
        return warnings
    if not bootstrap:
        warnings.append(NO_BOOTSTRAP)
    exponent = {at: equations["N"].parameters["a"] for at, (_, equations) in fits.items()}
    main = exponent[INSIDE, "log"]
    others = [
        f"{a:.3f} ({space}, {points})"
        for (points, space), a in exponent.items()
        if a is not None and main is not None and abs(a - main) > SHIFT_WARNING
    ]
    if others:
        warnings.append(
            f"the exponent of N depends on the choice of points and weights: {main:.3f} here, but "
            + ", ".join(others)
        )
    return warnings
