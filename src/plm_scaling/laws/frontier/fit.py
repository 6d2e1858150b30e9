"""The compute-efficient frontier: the best run at each compute, from whole learning curves.

The study's own rule (`plm_scaling.cheng2024.frontier`), done so that it can be trusted: losses
averaged over five evaluations and compared at equal compute, D = C/(6·N), power laws N = k·C^a,
D = k·C^b and L = k·C^c fitted in log-log, and points left out where the best run is the smallest or
largest that got there. The fits that keep those points, that weigh by size (linear space) or
that leave out the dearest runs stand beside it in `variants`, so that a reader sees how much
rests on a few points.

Intervals: runs are drawn with replacement and the envelope is taken again. A frontier is made of
minima, so a resample without the best run has a slightly worse one; the intervals are rough.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_lengths, check_runs, compute_warning
from plm_scaling.laws.frontier.envelope import REACH, SMOOTHING, Envelope, build_envelope
from plm_scaling.laws.frontier.variants import fit_linear, fit_log
from plm_scaling.laws.points import not_alike
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.frontier_table import frontier_rows
from plm_scaling.laws.stats.intervals import Floats, check_settings, multiplicities, percent
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws, power_equation
from plm_scaling.laws.status import Check, Status, not_available

METHOD = (
    f"at each run's final compute the run with the lowest loss (mean of {SMOOTHING} evaluations, "
    f"linear in ln C; logs may end {percent(REACH)} earlier), unless it is the smallest or largest "
    "that got there; power laws by least squares in log-log; intervals by a bootstrap over runs; "
    "residual_rms and objective_value (sum of squares) of ln N"
)
POWERS = {"N": "a", "D": "b", "L": "c"}
SPACES = {"log": fit_log, "linear": fit_linear}
SHIFT_WARNING = 0.02  # exponents this far apart lead to other plans


def frontier_points(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> dict[str, Any]:
    """The arguments of `fit_frontier` from tables as `read_runs` and `curves.parquet` give.

    Runs of one objective whose losses can be compared (`not_alike`). Without `curves` a run is its
    final point. Raises LawError if runs of two objectives are given or none is left.
    """
    if runs["objective"].nunique() > 1:
        raise LawError("runs of both objectives; a frontier compares losses, so give one")
    used = runs[not_alike(runs) == ""]
    if used.empty:
        raise LawError("no finished run trained from scratch; a frontier needs some")
    if curves is None:
        rows = used
    else:
        valid = curves[(curves["split"] == "valid") & curves["loss"].notna()]
        rows = valid.merge(used[["run_id", "n_params"]], on="run_id")
    names = ("n_params", "tokens", "flops", "loss")
    return {"run": rows["run_id"].to_numpy(str)} | {n: rows[n].to_numpy(float) for n in names}


def fit_tables(runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings) -> LawResult:
    """The law of the `runs` that have points: see `laws.registry`."""
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
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
) -> LawResult:
    """Fit N(C), D(C) and L(C) to the lower envelope of learning curves, all arrays of shape (n,).

    One entry per evaluation: the name of its run, the run's non-embedding parameters, tokens and
    FLOPs so far, held-out loss in nats/token; a run known by its end alone has one. Points at less
    than two compute values give status not_identified and no parameters. Raises LawError on values
    that are not positive and finite.
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
    law = {name: PowerLaw(float(v.log_k[0]), float(v.exponent[0])) for name, v in laws.items()}
    used = data.inside[0]
    squares = float(((np.log(data.y["N"][0]) - np.log(law["N"](envelope.flops)))[used] ** 2).sum())
    variants = _variants(envelope, data, resampled, level)
    warnings = _warnings(envelope, data, variants, found, bootstrap)
    warnings += compute_warning(n_params, tokens, flops)
    return LawResult(
        law="frontier",
        method=METHOD,
        n_points=int(used.sum()),
        equations=_equations(laws, samples, level),
        objective_value=squares if found else None,
        residual_rms=(
            float(np.sqrt(squares / (used.sum() - 2))) if found and used.sum() > 2 else None
        ),
        status=_status(envelope.flops[used], data.y["N"][0, used], found),
        warnings=warnings,
        details={
            "envelope": _points(envelope, data),
            "variants": variants,
            "frontier": frontier_rows(envelope.flops, law, samples, level) if found else [],
            "held_out": _held_out(envelope, data),
            "bootstrap": {"kind": "runs", "resamples": bootstrap, "seed": seed},
        },
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


def _equations(
    laws: dict[str, PowerLaws], samples: dict[str, PowerLaws], level: float
) -> dict[str, Equation]:
    equations = {}
    for name, power in POWERS.items():
        log_k, exponent = float(laws[name].log_k[0]), float(laws[name].exponent[0])
        law = PowerLaw(log_k, exponent) if np.isfinite(exponent) else None
        equations[name] = power_equation(power, law, samples[name], level)
    return equations


def _variants(
    envelope: Envelope, data: _Series, resampled: _Series, level: float
) -> list[dict[str, Any]]:
    """The same envelope with other points and in linear space; the first row is the law itself."""
    flops = envelope.flops
    every = np.full(len(flops), True)
    subsets = {
        "inside the sizes": (data.inside, resampled.inside),
        "all": (every, every),
        "without the dearest run": (np.arange(len(flops)) < len(flops) - 1,) * 2,
        "without the dearest decade": (flops < flops[-1] / 10,) * 2,
    }
    rows = []
    for points, (keep, keep_resampled) in subsets.items():
        for space in SPACES:
            fitted, samples = data.fit(space, keep), resampled.fit(space, keep_resampled)
            row = {
                "source": "envelope",
                "points": points,
                "space": space,
                "n_points": int(np.broadcast_to(keep, data.weights.shape).sum()),
            }
            equations = _equations(fitted, samples, level)
            rows.append(row | {name: eq.to_json() for name, eq in equations.items()})
    return rows


def _points(envelope: Envelope, data: _Series) -> list[dict[str, Any]]:
    """The envelope, one row per compute value, for figures and for a reader who doubts."""
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


def _status(flops: Floats, n_params: Floats, found: bool) -> Status:
    if not found:
        return Status.NOT_IDENTIFIED
    places = len(np.unique(np.stack([flops, n_params]), axis=1).T)
    return Status.TWO_POINTS if places == 2 else Status.CONVERGED


def _held_out(envelope: Envelope, data: _Series) -> dict[str, Any]:
    """The law from points below a tenth of the highest compute, asked for the best run there."""
    flops, dearest = envelope.flops, envelope.flops[-1]
    cheaper = data.inside & (flops < dearest / 10)
    laws = data.fit("log", cheaper)
    if not np.isfinite(laws["N"].exponent[0]):
        return not_available(
            f"{int(cheaper.sum())} point(s) below a tenth of the highest compute, "
            f"{dearest:.3g} FLOPs; a power law needs two compute values"
        )
    best = data.best[0, -1]
    n, loss = float(envelope.n_params[best]), float(envelope.loss[-1, best])
    predicted_n, predicted_loss = (float(laws[name](dearest)[0]) for name in ("N", "L"))
    return {
        "status": Check.DONE,
        "fitted_on_flops": [float(c) for c in np.unique(flops[cheaper[0]])],
        "predicted_at_flops": float(dearest),
        "run_id": str(envelope.names[best]),
        "n_params": {"measured": n, "predicted": predicted_n, "ratio": predicted_n / n},
        "loss": {
            "measured": loss,
            "predicted": predicted_loss,
            "difference": predicted_loss - loss,
        },
    }


def _warnings(
    envelope: Envelope,
    data: _Series,
    variants: list[dict[str, Any]],
    found: bool,
    bootstrap: int,
) -> list[str]:
    """What a reader must know before using the numbers, in plain sentences."""
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
        warnings.append("no bootstrap was asked for; there are no intervals")
    exponent = {(v["points"], v["space"]): v["N"]["a"] for v in variants}
    main = exponent["inside the sizes", "log"]
    others = [
        f"{a:.3f} ({space}, {points})"
        for (points, space), a in exponent.items()
        if a is not None and abs(a - main) > SHIFT_WARNING
    ]
    if others:
        warnings.append(
            f"the exponent of N rests on the choice of points and weights: {main:.3f} here, but "
            + ", ".join(others)
        )
    return warnings
