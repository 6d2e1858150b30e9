"""The law of repeated tokens from end points of runs: base law and worth of repeats in one fit.

E, A, B, α and β are fitted to fresh and repeated runs together with R*_D and R*_N (Muennighoff et
al. 2023, eq. 5 to 7), or with c and κ of the penalty, whichever form has the lower AIC. A base law
can be given instead. `surfaces` has both forms, `joint` their fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import many
from plm_scaling.laws.checks import as_labels, check_runs
from plm_scaling.laws.details import HeldOutRuns, NotAvailable, loss_errors, not_available
from plm_scaling.laws.parametric.surface import NAMES
from plm_scaling.laws.repeated.checks import misfit_of
from plm_scaling.laws.repeated.details import EndPointDetails, FormRow, OpenInterval
from plm_scaling.laws.repeated.joint import Problem
from plm_scaling.laws.repeated.model import (
    EXCESS_FORM,
    Fitted,
    aic,
    at_limit,
    beyond_limits,
    chosen_form,
    equations_of,
    open_interval,
    open_sentence,
    optimal_params,
    penalty_of,
    worth_rows,
)
from plm_scaling.laws.repeated.surfaces import PENALTY, WORTH, Form, Runs
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.settings import DEFAULT
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.intervals import (
    NO_BOOTSTRAP,
    Floats,
    check_settings,
    multiplicities,
    percentile_interval,
)
from plm_scaling.laws.status import Basis, Check, Evidence, Limit

MIN_RUNS, MIN_REPEATED_RUNS = 8, 3  # distinct runs: one more than the joint fit has parameters
MIN_FRESH = 3  # for their scatter around a law that was given
REPEATED = 1.01  # epochs; a sweep's rounding is no repetition
MIN_EXCESS = 0.1  # N/U_N − 1 of the most oversized run, below which N' is N
ALIKE = 1.05  # repetitions within this factor are the same: R = D/U - 1 of budgets within 1 %
L_FORMS = {
    WORTH.name: "E + A/N_eff^alpha + B/D_eff^beta",
    PENALTY.name: f"E + A/N^alpha + B/D^beta + {EXCESS_FORM}",
}
METHOD = (
    "sum of Huber(delta={delta:g}) of the log loss over fresh and repeated runs, minimised over "
    "{which} by damped Newton steps from many starts; form {form}, of worth (R_D, R_N) and penalty "
    "(c, kappa) the one of lower AIC; intervals by a bootstrap over {unit}{draws}, each resample "
    "refitted; residual_rms is of ln(loss)"
)


def fit_repeated(
    n_params: Floats,
    tokens: Floats,
    unique_tokens: Floats,
    loss: Floats,
    *,
    group: Any = None,
    base: Mapping[str, float] | LawResult | None = None,
    huber_delta: float = DEFAULT.huber_delta,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[EndPointDetails]:
    """Fit what repeats are worth to runs, arrays of shape (n,): parameters, tokens, unique tokens,
    nats; some must repeat tokens. Rows of one `group` (a label each) are resampled together.

    `base` is a parametric law, or holds its E, A, B, alpha and beta; without it they are fitted
    too. Raises LawError for unusable values or too few runs.
    """
    check_settings(bootstrap, level)
    n_params, tokens, unique_tokens, loss = check_runs(
        n_params=n_params, tokens=tokens, unique_tokens=unique_tokens, loss=loss
    )
    again = tokens > REPEATED * unique_tokens
    runs = Runs(n_params, tokens, np.where(again, unique_tokens, tokens), loss)
    problem = Problem(runs, huber_delta, None if base is None else _given(base))
    _check_enough(problem, again)
    best = {form: problem.fit(form, problem.starts(form)) for form in (WORTH, PENALTY)}
    forms = [_form_row(problem, form, again, theta) for form, theta in best.items()]
    form = PENALTY if chosen_form(forms) == PENALTY.name else WORTH
    theta = best[form]
    labels = None if group is None else as_labels("group", group, len(loss))
    counts = multiplicities(len(loss), bootstrap, seed, labels)
    samples = np.full((bootstrap, 7), np.nan)
    usable = ((counts > 0) & again).sum(axis=1) >= MIN_REPEATED_RUNS
    if usable.any():
        samples[usable] = problem.resample(form, theta, counts[usable])
    fitted = (_worth if form is WORTH else _penalty)(runs, theta, samples, level)
    log_errors = form.log_errors(runs, theta[None])[0]
    misfit = misfit_of(
        problem.errors(form, theta)[again], *_fresh_scatter(problem, form, theta, again)
    )
    held_out = _held_out(problem, form, theta, again)
    largest = misfit["largest_misfit_nats"]
    evidence: Evidence = {
        **fitted.evidence,
        "failed": 1 - float(usable.mean()) if bootstrap else 0.0,
        "misfit": _limit("repeated", misfit["residual_rms_nats"], largest),
    }
    if held_out["status"] == Check.DONE and bootstrap:
        allowed = float(np.hypot(largest, _spread(form, runs, samples, level)))
        evidence["held_out"] = _limit("held-out", held_out["loss"]["rms_error"], allowed)
    bounds = [] if problem.held else form.at_bound(runs, theta)
    if bounds:
        said = f"{', '.join(bounds)} of the base law at a bound: train more fresh runs"
        evidence["at_bound" if bounds == ["E"] else "undetermined"].append(said)
    law = dict(zip(NAMES, map(float, runs.natural(theta)), strict=True))
    natural = runs.natural(samples)
    moved = problem.given is None or len(problem.given) > 1
    ends = {n: percentile_interval(natural[:, k], level) for k, n in enumerate(NAMES) if moved}
    epochs = runs.repetitions[again] + 1
    unit = "runs" if labels is None else "groups"
    return LawResult(
        law="repeated",
        method=METHOD.format(
            delta=huber_delta,
            which="R_D and R_N, or c and kappa" if problem.held else "all seven parameters",
            form=form.name,
            unit=unit,
            draws=" and over draws of the base law" if problem.held and moved else "",
        ),
        n_points=len(loss),
        equations={
            "L": Equation(L_FORMS[form.name], {**law}, dict.fromkeys(NAMES) | ends, level),
            **equations_of(fitted, level),
        },
        objective_value=float(form.misfits(runs, theta[None], huber_delta).sum()),
        residual_rms=rms(log_errors),
        warnings=fitted.warnings + [NO_BOOTSTRAP] * (not bootstrap),
        details={
            "kind": Basis.END_POINTS,
            "form": form.name,
            "forms": forms,
            "base_given": bool(problem.held),
            "n_repeated_runs": int(again.sum()),
            "epochs_range": [float(epochs.min()), float(epochs.max())],
            "open_intervals": fitted.intervals,
            **misfit,
            "worth": worth_rows(fitted.values.get("R_D"), float(epochs.max())),
            "held_out": held_out,
            "bootstrap": {"kind": unit, "resamples": bootstrap, "seed": seed},
        },
        evidence=evidence,
    )


def _given(base: Mapping[str, float] | LawResult) -> Floats:
    """E, A, B, alpha and beta (K, 5) of a law: its own, then those of its resamples."""
    parameters: Mapping[str, Any] = base if isinstance(base, Mapping) else {}
    draws = []
    if isinstance(base, LawResult) and "L" in base.equations:
        parameters, draws = base.equations["L"].parameters, base.details.get("draws", [])
    if missing := [name for name in NAMES if parameters.get(name) is None]:
        raise LawError(
            f"the base law lacks {', '.join(missing)}; give {', '.join(NAMES)} of "
            "E + A/N^alpha + B/D^beta, or a parametric law"
        )
    return np.array([[parameters[name] for name in NAMES], *draws], float)


def _check_enough(problem: Problem, again: NDArray[np.bool_]) -> None:
    """Raise LawError with too few repeated runs, or too few runs for all seven parameters."""
    runs = problem.runs
    if again.sum() < MIN_REPEATED_RUNS:
        raise LawError(
            f"{again.sum()} of {many(len(again), 'run')} with tokens seen more than once; the "
            f"repeated law needs at least {MIN_REPEATED_RUNS}: train cells with tokens above "
            "unique_tokens"
        )
    distinct = len(set(zip(runs.n_params, runs.tokens, runs.unique, strict=True)))
    if distinct < MIN_RUNS and not problem.held:
        raise LawError(
            f"{many(distinct, 'distinct run')}; base law and repeats have seven parameters and "
            f"need at least {MIN_RUNS}: train more cells, or give `base` (E, A, B, alpha, beta)"
        )


def _form_row(problem: Problem, form: Form, again: NDArray[np.bool_], theta: Floats) -> FormRow:
    """A form with its own two parameters at least misfit, and how well it does."""
    runs = problem.runs
    misfit = form.misfits(runs, theta[None], problem.delta).mean()
    return {
        "form": form.name,
        "parameters": dict(
            zip(form.own_names, map(float, form.own(runs, theta[None])[0]), strict=True)
        ),
        "rms_nats": rms(problem.errors(form, theta)[again]),
        "aic": aic(float(misfit), len(runs.loss), 7 - len(problem.held)),
    }


def _worth(runs: Runs, theta: Floats, samples: Floats, level: float) -> Fitted:
    """R*_D and R*_N; R*_N is dropped where it is not identified, for R*_D stands without it."""
    r_d, r_n = map(float, WORTH.own(runs, theta[None])[0])
    drawn = beyond_limits(WORTH.own(runs, samples))
    intervals = {"R_D": open_interval(drawn[:, 0], level), "R_N": open_interval(drawn[:, 1], level)}
    base = dict(zip(NAMES, runs.natural(theta), strict=True))
    with np.errstate(divide="ignore"):  # where the term of D vanished, any size is too large
        excess = float((runs.n_params / optimal_params(base, runs.unique)).max() - 1)
    if excess < MIN_EXCESS:
        said = [
            "R*_N is not identified: no run is larger than its unique tokens call for (largest "
            f"N/U_N − 1 = {excess:.2f}), so N' = N whatever R*_N is"
        ]
    else:
        said = _edge("N", r_n, intervals["R_N"])
    in_d = _edge("D", r_d, intervals["R_D"])
    unknown = at_limit(r_d) or intervals["R_D"] == (None, None)
    passes = at_limit(r_d) and r_d > 1  # for fresh tokens
    return Fitted(
        {"R_D": None if unknown else r_d, "R_N": None if said else r_n},
        intervals,
        {"at_bound": in_d * passes, "undetermined": in_d * (not passes)},
        said,
    )


def _edge(name: str, value: float, interval: OpenInterval | None) -> list[str]:
    """A sentence if R*_name or an end of its interval lies beyond the values scanned."""
    if at_limit(value) and (interval is None or None not in interval):
        return [f"R*_{name} is not identified: least misfit at the edge of the values scanned"]
    return open_sentence(name, interval)


def _penalty(runs: Runs, theta: Floats, samples: Floats, level: float) -> Fitted:
    """c and kappa; neither where all runs repeat their tokens equally often."""
    repeats = runs.repetitions[runs.repetitions > 0]
    if repeats.max() < ALIKE * repeats.min():
        why = (
            f"c and kappa are not identified: all runs that repeat their tokens see them "
            f"{1 + repeats.max():.3g} times"
        )
        nothing = dict.fromkeys(PENALTY.own_names)
        return Fitted({**nothing}, {**nothing}, {"at_bound": [], "undetermined": [why]})
    c, kappa = map(float, PENALTY.own(runs, theta[None])[0])
    return penalty_of(c, kappa, PENALTY.own(runs, samples), level)


def _fresh_scatter(
    problem: Problem, form: Form, theta: Floats, again: NDArray[np.bool_]
) -> tuple[float | None, int]:
    """Root mean square (nats) of the fresh runs around the law of only them, and its degrees of
    freedom; None with none to spare."""
    freedom = int((~again).sum()) - (0 if problem.held else len(NAMES) + 1)
    if freedom < (MIN_FRESH if problem.held else 1):
        return None, 0
    own = problem.fit(form, theta[None], (~again).astype(float))
    squares = problem.errors(form, own)[~again] ** 2
    return float(np.sqrt(squares.sum() / freedom)), freedom


def _limit(which: str, value: float, allowed: float) -> Limit:
    what = f"the root mean square error of the {which} runs"
    return {"what": what, "value": value, "allowed": allowed, "unit": "nats"}


def _spread(form: Form, runs: Runs, samples: Floats, level: float) -> float:
    """Half the width of the interval of a run's predicted loss where it is widest, nats."""
    known = samples[~np.isnan(samples[:, 0])]
    if not len(known):
        return 0.0
    low, high = np.quantile(
        form.predict(runs, known)[0], [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    return float((high - low).max() / 2)


def _held_out(
    problem: Problem, form: Form, theta: Floats, again: NDArray[np.bool_]
) -> HeldOutRuns | NotAvailable:
    """The repeated runs of the largest budget, predicted by the fit to all other runs."""
    runs, repeated = problem.runs, np.flatnonzero(again)
    groups = group_budgets((6 * runs.n_params * runs.tokens)[repeated])
    budget, largest = groups[-1]
    asked = repeated[largest]
    weights = np.ones(len(again))
    weights[asked] = 0
    rest = len(repeated) - len(asked)
    if rest < MIN_REPEATED_RUNS or weights.sum() < (MIN_RUNS if not problem.held else 0):
        return not_available(f"{many(rest, 'repeated run')} left without the largest budget")
    errors = problem.errors(form, problem.fit(form, theta[None], weights))[asked]
    return {
        "status": Check.DONE,
        "fitted_on_flops": [flops for flops, _ in groups[:-1]],
        "predicted_at_flops": budget,
        "n_predicted": len(asked),
        "loss": loss_errors(errors),
    }
