"""Compute-optimal sizes from IsoFLOP parabolas (approach 2 of Hoffmann et al. 2022).

In each budget C a quadratic in ln N is fitted to the losses; its vertex is N_opt, with
D_opt = C/(6·N_opt). N = k·C^a, D = k·C^b and L = k·C^c are lines through the logarithms of the
accepted vertices; a + b = 1 by construction. A vertex outside the sizes trained is no minimum.

Intervals: the sizes of a sweep are chosen, not drawn, and with five sizes per budget resampling
runs would leave three distinct ones, hence an exact parabola, in half of the resamples. So the
sizes are kept and the residuals are resampled: centred, divided by sqrt(1 − leverage), pooled over
the accepted budgets. As few degrees of freedom also leave the size of the noise uncertain, each
resample's residuals are scaled by sqrt(f/χ²_f). The intervals hold given the sizes, the set of
accepted budgets and noise alike in all budgets; they do not cover what the quadratic itself gets
wrong on a wide grid. With several runs per size the replicates enter the residuals by themselves.
"""

from typing import Any

import numpy as np

from plm_scaling.laws.budgets import TOLERANCE, group_budgets
from plm_scaling.laws.checks import check_runs, compute_warning
from plm_scaling.laws.frontier_table import frontier_rows
from plm_scaling.laws.intervals import (
    Floats,
    Interval,
    check_settings,
    percent,
    percentile_interval,
)
from plm_scaling.laws.parabola import Parabola, fit_parabola, vertices
from plm_scaling.laws.power import PowerLaw, fit_power_law, fit_power_laws, power_equation
from plm_scaling.laws.result import LawResult

METHOD = (
    "quadratic in ln N per IsoFLOP budget (runs within "
    f"{percent(TOLERANCE)} of each other in FLOPs), vertex inside the sizes trained; power laws by "
    "least squares in log-log over the vertices; intervals by a residual bootstrap given the sizes "
    "and the accepted budgets; residual_rms in nats, objective_value their sum of squares"
)
VANISHED_WARNING = 0.05
WIDE_EXPONENT = 0.15


def fit_isoflop(
    n_params: Floats,
    tokens: Floats,
    flops: Floats,
    loss: Floats,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
) -> LawResult:
    """Fit N_opt(C), D_opt(C) and L_opt(C) to runs, all arrays of shape (n,).

    `n_params` non-embedding, `tokens` and `flops` of training, `loss` in nats/token. Fewer than
    two accepted budgets give status not_identified and no parameters. Raises LawError on values
    that are not positive and finite.
    """
    check_settings(bootstrap, level)
    check_runs(n_params=n_params, tokens=tokens, flops=flops, loss=loss)
    parabolas = [fit_parabola(c, n_params[i], loss[i]) for c, i in group_budgets(flops)]
    accepted = [p for p in parabolas if p.status == "accepted"]
    budgets = np.array([p.budget for p in accepted])
    log_n, log_l, lost = _resampled_vertices(accepted, bootstrap, seed)
    laws = _power_laws(accepted)
    log_c = np.log(budgets)
    resampled = {
        "N": fit_power_laws(log_c, log_n),
        "D": fit_power_laws(log_c, log_c - np.log(6) - log_n),
        "L": fit_power_laws(log_c, log_l),
    }
    equations = {
        name: power_equation(power, laws.get(name), resampled[name], level)
        for name, power in (("N", "a"), ("D", "b"), ("L", "c"))
    }
    residuals = np.concatenate([p.fit.residuals for p in accepted if p.fit] or [np.array([])])
    squares, freedom = float((residuals**2).sum()), len(residuals) - 3 * len(accepted)
    minima = []
    for p in parabolas:
        column = next((j for j, other in enumerate(accepted) if other is p), None)
        with np.errstate(over="ignore"):
            samples = np.array([]) if column is None else np.exp(log_n[:, column])
        minima.append(p.to_json(percentile_interval(samples, level)))
    warnings = _warnings(parabolas, accepted, lost, equations["N"].interval["a"])
    warnings += compute_warning(n_params, tokens, flops)
    return LawResult(
        law="isoflop",
        method=METHOD,
        n_points=sum(p.n_runs for p in accepted),
        equations=equations,
        objective_value=squares if accepted else None,
        residual_rms=float(np.sqrt(squares / freedom)) if accepted else None,
        status=_status(len(accepted)),
        warnings=warnings,
        details={
            "minima": minima,
            "frontier": frontier_rows(budgets, laws, resampled, level) if laws else [],
            "held_out": _held_out(accepted),
            "bootstrap": {
                "kind": "residuals within the sweep's sizes",
                "resamples": bootstrap,
                "seed": seed,
                "share_without_all_minima": lost,
            },
        },
    )


def _status(n_accepted: int) -> str:
    if n_accepted < 2:
        return "not_identified"
    return "two_points" if n_accepted == 2 else "converged"


def _power_laws(accepted: list[Parabola]) -> dict[str, PowerLaw]:
    """N(C), D(C), L(C) through the vertices; empty with fewer than two."""
    if len(accepted) < 2:
        return {}
    c = np.array([p.budget for p in accepted])
    n, loss = np.array([p.vertex for p in accepted]).T
    return {
        "N": fit_power_law(c, n),
        "D": fit_power_law(c, c / (6 * n)),
        "L": fit_power_law(c, loss),
    }


def _resampled_vertices(
    accepted: list[Parabola], resamples: int, seed: int
) -> tuple[Floats, Floats, float | None]:
    """ln N and ln L at the vertices, each (resamples, budgets), NaN where the parabola does not
    open upwards, and the share of resamples in which a minimum vanished or left the sizes.

    A resampled vertex outside the sizes is kept: leaving it out would cut the intervals short.
    """
    fits = [(p.fit, np.log(p.n_range)) for p in accepted if p.fit]
    log_n = np.full((resamples, len(fits)), np.nan)
    log_l = log_n.copy()
    if not resamples or not fits:
        return log_n, log_l, None
    rng = np.random.default_rng(seed)
    pool = np.concatenate([fit.residuals / np.sqrt(1 - fit.leverage) for fit, _ in fits])
    pool = pool - pool.mean()
    freedom = len(pool) - 3 * len(fits)
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=(resamples, 1)))
    lost = np.zeros(resamples, bool)
    for j, (fit, (low, high)) in enumerate(fits):
        noise = scale * rng.choice(pool, size=(resamples, len(fit.fitted)))
        x, at_vertex = vertices((fit.fitted + noise) @ fit.solver.T, fit.centre)
        log_n[:, j] = x
        log_l[at_vertex > 0, j] = np.log(at_vertex[at_vertex > 0])
        lost |= ~((x > low) & (x < high))
    return log_n, log_l, float(lost.mean())


def _held_out(accepted: list[Parabola]) -> dict[str, Any]:
    """Power laws from all but the dearest accepted budget, asked for that one."""
    if len(accepted) < 3:
        return {
            "status": "not_available",
            "why": f"accepted minima: {len(accepted)}; three are needed to fit two and predict one",
        }
    *cheaper, dearest = accepted
    laws = _power_laws(cheaper)
    n, loss = dearest.vertex or (np.nan, np.nan)
    predicted_n, predicted_loss = float(laws["N"](dearest.budget)), float(laws["L"](dearest.budget))
    return {
        "status": "done",
        "fitted_on_flops": [p.budget for p in cheaper],
        "predicted_at_flops": dearest.budget,
        "n_params": {"measured": n, "predicted": predicted_n, "ratio": predicted_n / n},
        "loss": {
            "measured": loss,
            "predicted": predicted_loss,
            "difference": predicted_loss - loss,
        },
    }


def _warnings(
    parabolas: list[Parabola],
    accepted: list[Parabola],
    lost: float | None,
    interval: Interval | None,
) -> list[str]:
    """What a reader must know before using the numbers, in plain sentences."""
    warnings = [
        f"no minimum used at C={p.budget:.3g}: {p.reason()}"
        for p in parabolas
        if p.status != "accepted"
    ]
    if len(accepted) < 2:
        warnings.append(
            f"{len(accepted)} of {len(parabolas)} budgets have a minimum; a power law needs two. "
            "Add sizes around the cheapest losses, or budgets"
        )
        return warnings
    if len(accepted) == 2:
        warnings.append(
            "two minima: the power laws go through both exactly, so nothing shows whether a power "
            "law holds"
        )
    if lost is None:
        warnings.append("no bootstrap was asked for; there are no intervals")
    elif lost > VANISHED_WARNING:
        warnings.append(
            f"in {percent(round(lost, 2))} of the resamples at least one minimum vanished or "
            "left the range of sizes; the intervals lean on parabolas beyond the sizes trained"
        )
    if lost is not None and interval is None:
        warnings.append("over half of the resamples gave no exponent; there is no interval for a")
    elif interval is not None and interval[1] - interval[0] > 2 * WIDE_EXPONENT:
        warnings.append(
            f"the interval of a ({interval[0]:.2f} to {interval[1]:.2f}) spans more than "
            f"±{WIDE_EXPONENT}: these runs do not determine the exponent"
        )
    return warnings
