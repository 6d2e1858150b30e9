"""Whether the repeated runs follow the data-constrained law, and which fresh runs its base law may
rest on."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from plm_scaling.laws.parametric.implied import surface_loss
from plm_scaling.laws.parametric.surface import NAMES
from plm_scaling.laws.repeated.details import Misfit
from plm_scaling.laws.repeated.model import optimal_params
from plm_scaling.laws.stats.intervals import Floats

ROUNDS = 10
SIGNIFICANT = 0.999
FACTOR = 3.0  # times the scatter of fresh runs; within it the error of the base law is a reason too
RERUN_SCATTER = 0.008  # nats; two runs of one setting differ by this in the study's logs
MISFIT_LIMITS = (0.001, 0.1)  # nats; less matters to no one, more is no noise of a held-out loss
MIN_FRESH = 3

Runs = tuple[Floats, Floats, Floats]  # N, D and loss, each (n,)


def without_excess(
    fresh: Runs, fit: Callable[[Runs], Mapping[str, float]], enough: Callable[[Runs], bool]
) -> tuple[NDArray[np.bool_], str, str]:
    """The fresh runs with no more parameters than their tokens call for, where N' is N.

    With N above U_N = N_opt(D) their loss is that of N' < N, which a base law fitted to N takes for
    the loss of N. U_N follows from the base law, so runs and law are found in turn. Returns which
    they are, a sentence on those left out, and one on why they could not be.
    """
    n_params, tokens, _ = fresh
    chosen = every = np.ones(len(n_params), bool)
    for _ in range(ROUNDS):
        inside = n_params <= optimal_params(fit(select_runs(fresh, chosen)), tokens)
        excess = f"{(~inside).sum()} of {len(inside)} fresh run(s) have more parameters than their "
        excess += "tokens call for (N > U_N), so their loss is that of fewer (N')"
        if not enough(select_runs(fresh, inside)):
            biased = f"{excess}; too few are left without them, and with them R*_D and R*_N are "
            biased += "biased: train more runs with N below N_opt(D), or give the base law"
            return every, "", biased
        if (inside == chosen).all():
            break
        chosen = inside
    else:
        excess += f" (law and runs did not settle in {ROUNDS} rounds)"
    left_out = "" if chosen.all() else f"{excess}; the base law is fitted without them"
    return chosen, left_out, ""


def select_runs(runs: Runs, chosen: NDArray[np.bool_]) -> Runs:
    """Those of the runs."""
    return runs[0][chosen], runs[1][chosen], runs[2][chosen]


def check_misfit(
    errors: Floats, fresh: Runs, base: Mapping[str, float], fitted: bool
) -> tuple[Misfit, str]:
    """How far the repeated runs miss the law, against the scatter of fresh runs around `base`.

    `errors` (n,) are predicted − measured losses of the repeated runs, nats; `fitted` says whether
    the base law was fitted to the `fresh` runs or given. Returns root mean squares (nats, over the
    degrees of freedom) for the law file, and a sentence if the runs do not follow the law.
    """
    freedom = len(errors) - 2
    rms = float(np.sqrt((errors**2).sum() / freedom))
    scatter, freedom_fresh = _scatter(fresh, base, fitted)
    if scatter is None:
        limit, against = FACTOR * RERUN_SCATTER, f"reruns differ by {RERUN_SCATTER:g}"
    else:
        chance = float(np.sqrt(fdtri(freedom, freedom_fresh, SIGNIFICANT)))
        limit = float(np.clip(max(FACTOR, chance) * scatter, *MISFIT_LIMITS))
        against = f"fresh ones the base law by {scatter:.3g}"
    said = ""
    if rms > limit:
        said = (
            f"R*_D is not identified: the repeated runs miss the law by {rms:.3g} nats (root mean "
            f"square), {against}; above {limit:.3g} they do not follow its form"
        )
    numbers: Misfit = {
        "residual_rms_nats": rms,
        "fresh_scatter_nats": scatter,
        "largest_misfit_nats": limit,
    }
    return numbers, said


def _scatter(fresh: Runs, base: Mapping[str, float], fitted: bool) -> tuple[float | None, int]:
    """Root mean square (nats) of the fresh runs around the base law and its degrees of freedom;
    None with fewer than three such runs, or none to spare."""
    n_params, tokens, loss = fresh
    inside = n_params <= optimal_params(base, tokens)
    inside |= fitted  # a base law takes all runs that it was fitted to for such ones
    predicted = surface_loss(np.array([base[k] for k in NAMES]), n_params, tokens)
    errors = (predicted - loss)[inside]
    freedom = len(errors) - len(NAMES) * fitted
    if len(errors) < MIN_FRESH or freedom < 1:
        return None, 0
    return float(np.sqrt((errors**2).sum() / freedom)), freedom
