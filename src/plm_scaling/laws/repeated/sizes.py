"""The data-constrained law of a study's repeated curves: per size, jointly, and its verdict."""

from typing import cast

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.details import loss_errors
from plm_scaling.laws.repeated.curves import (
    PARTS,
    TURN_UP,
    WINDOWS,
    Gap,
    RepeatedCurve,
    direct_inversion,
    offset_row,
    reference_noise,
    resample_misfits,
    resample_penalties,
)
from plm_scaling.laws.repeated.details import (
    CurveDetails,
    FormName,
    FormRow,
    HeldOutEnds,
    Joint,
    JointOffsetRow,
    PredictedEnd,
    SizeRow,
)
from plm_scaling.laws.repeated.model import (
    EXCESS_FORM,
    R_LIMITS,
    Fitted,
    aic,
    chosen_form,
    effective_tokens,
    equations_of,
    lowest_on_grid,
    open_interval,
    open_sentence,
    penalty_of,
    worth_rows,
)
from plm_scaling.laws.repeated.overfit import Overfit, fit_overfit
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT
from plm_scaling.laws.stats.blocks import rms, smoothed
from plm_scaling.laws.stats.intervals import (
    NO_BOOTSTRAP,
    Floats,
    check_settings,
    multiplicities,
)
from plm_scaling.laws.status import Basis, Check, Evidence, Status

OFFSET_SHIFT = 0.006  # nats; by how much the two windows of the study's runs disagree
DRAWN = 50  # stretches whose mean gaps a figure shows
LEAST_NOISE = 0.001  # nats; a smooth misfit below this matters to no one
AT_LIMIT = ["R*_D lies at its upper limit: repeats pass for fresh tokens"]
RESAMPLED = "moving blocks of residuals and reference runs; jointly also curves"
METHOD = (
    "least squares of the gap between repeated and fresh curves of one size, offset + L_N(D') − "
    "L_N(D), beyond the first epoch, on a grid over ln R*_D; offset = mean gap in epochs 0.3–1; "
    "joint: one R*_D, offsets of their own, curves weighted alike; intervals by moving blocks of "
    "residuals along the curves with resampled reference runs, half of them with the offset from "
    "epochs 0.75–1, jointly also over curves; one run per size: what a rerun would change is not "
    "in them; residual_rms in nats per evaluation, objective_value the mean of their squares"
)
NO_R_N = (
    "R*_N is not identified: excess parameters shift a size's loss by a constant, and so does the "
    "unknown offset between the corpora"
)


def fit_repeated_curves(
    curves: list[RepeatedCurve],
    *,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[CurveDetails]:
    """Fit R*_D to curves of repeated runs, each given with the fresh runs of its size.

    Status not_identified, and no R*_D, if some curve does not follow the form; the sizes that do
    are in `sizes` and `joint`. Raises LawError for curves that cannot be compared.
    """
    check_settings(bootstrap, level)
    if not curves:
        raise LawError(
            "no run that repeats tokens has a fresh run of its size and length to compare with"
        )
    gaps = [Gap.of(curve) for curve in curves]
    spread = reference_noise(gaps)
    sizes, misfits = [], []
    for k, gap in enumerate(gaps):
        table, lengths = resample_misfits(gap, spread, bootstrap, seed + k)
        misfits.append(table)
        sizes.append(_size(gap, table, lengths, level))
    good = [k for k, size in enumerate(sizes) if not size["why"]]
    joint, no_upper = _joint([gaps[k] for k in good], [misfits[k] for k in good], level, seed)
    bad = [size["why"] for size in sizes if size["why"]]
    warnings = [*bad, NO_R_N, *_interval_warnings(sizes, joint, bootstrap)]
    epochs = [float(end(gap.epochs[-1] for gap in gaps)) for end in (min, max)]
    over = _joint_overfit(gaps)
    forms = _form_rows(gaps, over)
    # where all follow D', errors of offset and reference would choose the form that bends more
    form = chosen_form(forms) if bad else FormName.WORTH
    residual = joint["rms_nats"]
    if form == FormName.WORTH:
        value, interval = (None, None) if bad else (joint["R_D"], joint["interval"])
        evidence: Evidence = {"undetermined": bad, "at_bound": AT_LIMIT * (no_upper and not bad)}
        if value is None and not evidence["at_bound"]:
            evidence["undetermined"] = bad or open_sentence("D", (None, None))
        fitted = Fitted({"R_D": value}, {"R_D": interval, "R_N": None}, evidence)
    else:
        fitted, residual = _penalty(gaps, over, bootstrap, level, seed), over.rms
    return LawResult(
        law="repeated",
        method=METHOD,
        n_points=len(gaps),
        equations=equations_of(fitted, level),
        objective_value=None if residual is None else residual**2,
        residual_rms=residual,
        warnings=warnings,
        details={
            "kind": Basis.CURVES,
            "form": form,
            "forms": forms,
            "epochs_range": epochs,
            "sizes": sizes,
            "joint": joint,
            "open_intervals": fitted.intervals,
            "reference_noise_nats": spread,
            "worth": worth_rows(fitted.values.get("R_D"), epochs[1]),
            "held_out": _held_out(gaps),
            "bootstrap": {"kind": RESAMPLED, "resamples": bootstrap, "seed": seed},
        },
        evidence=fitted.evidence,
    )


def _size(gap: Gap, misfits: Floats, lengths: dict[str, int], level: float) -> SizeRow:
    offset = gap.offset(WINDOWS[0])
    rows = [offset_row("none", gap, 0.0)]
    rows += [offset_row(f"epochs {w[0]:g}-{w[1]:g}", gap, gap.offset(w)) for w in WINDOWS]
    rows += [offset_row(f"{s:+g} nats", gap, offset + s) for s in (-OFFSET_SHIFT, OFFSET_SHIFT)]
    head = rows[1]
    why = _unfollowed(gap, head["rms_smoothed_nats"])
    value = head["least_misfit_R_D"]
    interval = None if why else open_interval(lowest_on_grid(misfits, gap.grid), level)
    at_bound = value is None or (interval is not None and None in interval)
    status = Status.NOT_IDENTIFIED if why else Status.AT_BOUND if at_bound else Status.CONVERGED
    repetitions = gap.epochs[gap.repeated] - 1
    over = fit_overfit(repetitions, gap.excess(offset))
    end, worth = float(gap.epochs[-1]), None
    if value is not None and not why:
        worth = float(effective_tokens(np.array([end]), 1.0, np.array(value))[0])
    return {
        "run_id": gap.curve.run_id,
        "fresh_run_id": gap.curve.fresh_run_id,
        "n_params": gap.curve.n_params,
        "unique_tokens": gap.curve.unique_tokens,
        "epochs": end,
        "status": status,
        "why": why,
        "R_D": None if why else value,
        "interval": interval,
        "offset_nats": offset,
        "offset_sensitivity": rows,
        "rms_nats": head["rms_nats"],
        "rms_smoothed_nats": head["rms_smoothed_nats"],
        "evaluation_noise_nats": gap.noise,
        "block_lengths": lengths,
        "effective_over_unique_at_end": worth,
        "effective_over_unique_from_final_loss": direct_inversion(gap, offset),
        "reference": {
            "n_runs": len(gap.curve.decayed_loss),
            "E": float(gap.reference.floor[0]),
            "B": float(gap.reference.drop[0] * gap.reference.centre ** gap.reference.beta[0]),
            "beta": float(gap.reference.beta[0]),
        },
        "excess": {"form": EXCESS_FORM, "c": over.c, "kappa": over.kappa, "rms_nats": over.rms},
        "gaps": [
            {"epochs": float(e), "gap_nats": float(g)}
            for e, g in zip(smoothed(gap.epochs, DRAWN), smoothed(gap.values, DRAWN), strict=True)
        ],
    }


def _unfollowed(gap: Gap, rms_smoothed: float) -> str:
    """Why the form cannot follow this curve: what it misses when noise is averaged out exceeds
    the noise of one evaluation. Empty if it can."""
    rise, error, at = gap.rise()
    name = f"{gap.curve.run_id} ({gap.curve.n_params:.3g} parameters)"
    if rms_smoothed <= max(gap.noise, LEAST_NOISE):
        return ""
    if rise > TURN_UP * error:
        return (
            f"R*_D is not identified for {name}: its held-out loss turns up after {at:.1f} epochs "
            f"and ends {rise:.3f} nats above its lowest, which D' cannot follow because it only "
            f"grows (smooth misfit {rms_smoothed:.3f} nats, evaluation noise {gap.noise:.3f}); "
            "see its c*R^kappa"
        )
    return (
        f"R*_D is not identified for {name}: the form misses its curve by {rms_smoothed:.3f} "
        f"nats where evaluation noise is averaged out ({gap.noise:.3f} per evaluation)"
    )


def _joint(gaps: list[Gap], misfits: list[Floats], level: float, seed: int) -> tuple[Joint, bool]:
    """One R* for all curves that follow the form, each with its own offset, weighted alike; and
    whether it lies at the upper limit of the values scanned."""
    if not gaps:
        none = dict.fromkeys(("R_D", "interval", "rms_nats", "rms_smoothed_nats"))
        return cast(Joint, {"run_ids": [], **none, "by_offset": []}), False
    found, rows = [], list[JointOffsetRow]()
    for window in WINDOWS:
        r_star, parts = _shared_worth(gaps, window)
        found.append(r_star)
        rows.append(
            {
                "offset_from": f"epochs {window[0]:g}-{window[1]:g}",
                "R_D": r_star if np.isfinite(r_star) else None,
                "rms_nats": _rms(parts),
                "rms_smoothed_nats": _rms(parts, PARTS),
            }
        )
    counts = multiplicities(len(gaps), len(misfits[0]), seed)
    total = np.einsum("bk,kbg->bg", counts, np.array(misfits))
    joint: Joint = {
        "run_ids": [gap.curve.run_id for gap in gaps],
        "R_D": rows[0]["R_D"],
        "interval": open_interval(lowest_on_grid(total, gaps[0].grid), level),
        "rms_nats": rows[0]["rms_nats"],
        "rms_smoothed_nats": rows[0]["rms_smoothed_nats"],
        "by_offset": rows,
    }
    return joint, found[0] == np.inf


def _shared_worth(gaps: list[Gap], window: tuple[float, float]) -> tuple[float, list[Floats]]:
    """R* of least misfit to all curves with the offsets of a window, and what it misses."""
    offsets = [gap.offset(window) for gap in gaps]
    total = np.mean([g.misfit(o) for g, o in zip(gaps, offsets, strict=True)], axis=0)
    r_star = float(lowest_on_grid(total[None], gaps[0].grid)[0])
    return r_star, [g.excess(o) - g.worth(r_star) for g, o in zip(gaps, offsets, strict=True)]


def _rms(parts: list[Floats], stretches: int | None = None) -> float:
    """Root mean square over curves that are weighted alike, of means of stretches if so many."""
    return rms(np.array([rms(smoothed(part, stretches or len(part))) for part in parts]))


def _joint_overfit(gaps: list[Gap]) -> Overfit:
    """One c·R^κ for all curves, weighted alike, each cleared of its own offset."""
    excess = [gap.excess(gap.offset(WINDOWS[0])) for gap in gaps]
    repetitions = [gap.epochs[gap.repeated] - 1 for gap in gaps]
    weights = [np.full(len(x), 1 / len(x)) for x in excess]
    return fit_overfit(*(np.concatenate(x) for x in (repetitions, excess, weights)))


def _missed(gap: Gap, over: Overfit) -> Floats:
    """What c·R^κ misses of a curve, nats."""
    return gap.excess(gap.offset(WINDOWS[0])) - over(gap.epochs[gap.repeated] - 1)


def _form_rows(gaps: list[Gap], over: Overfit) -> list[FormRow]:
    """Both forms with parameters that all curves share, offsets apart; AIC over stretches, which
    evaluation noise and its autocorrelation matter less to."""
    r_star, parts = _shared_worth(gaps, WINDOWS[0])
    penalised = [_missed(gap, over) for gap in gaps]
    points = PARTS * len(gaps)
    shared = float(np.clip(r_star, *R_LIMITS))
    rows: list[tuple[FormName, dict[str, float], list[Floats]]] = [
        (FormName.WORTH, {"R_D": shared}, parts),
        (FormName.PENALTY, {"c": over.c, "kappa": over.kappa}, penalised),
    ]
    return [
        {
            "form": form,
            "parameters": parameters,
            "rms_nats": _rms(missed),
            "aic": aic(_rms(missed, PARTS) ** 2, points, len(parameters)),
        }
        for form, parameters, missed in rows
    ]


def _penalty(gaps: list[Gap], over: Overfit, bootstrap: int, level: float, seed: int) -> Fitted:
    """c and κ that all curves share, unless some curve does not follow them."""
    samples = resample_penalties(gaps, over, bootstrap, seed)
    fitted = penalty_of(over.c, over.kappa, samples, level)
    fitted.evidence["undetermined"] += [
        f"c and kappa are not identified: {EXCESS_FORM} of all curves misses {gap.curve.run_id} by "
        f"{missed:.3f} nats where evaluation noise is averaged out ({gap.noise:.3f} per evaluation)"
        for gap in gaps
        if (missed := _rms([_missed(gap, over)], PARTS)) > max(gap.noise, LEAST_NOISE)
    ]
    return fitted


def _interval_warnings(sizes: list[SizeRow], joint: Joint, bootstrap: int) -> list[str]:
    if not bootstrap:
        return [NO_BOOTSTRAP]
    warnings = [f"{s['run_id']}: {w}" for s in sizes for w in open_sentence("D", s["interval"])]
    warnings += [f"jointly: {w}" for w in open_sentence("D", joint["interval"])]
    low, high = (joint["by_offset"][k]["R_D"] for k in (0, 1)) if joint["by_offset"] else (0, 0)
    if low and high:
        warnings.append(
            f"the offset between the corpora decides most of R*_D: jointly {low:.3g} with the "
            f"offset from epochs 0.3–1, {high:.3g} from 0.75–1"
        )
    if len(joint["run_ids"]) > 1:
        warnings.append(
            f"the joint interval resamples {len(joint['run_ids'])} curves; so few say little about "
            "how R*_D varies between sizes"
        )
    return warnings


def _held_out(gaps: list[Gap]) -> HeldOutEnds:
    """The end of each curve, predicted with R* from its first half."""
    rows: list[PredictedEnd] = []
    for gap in gaps:
        offset, half = gap.offset(WINDOWS[0]), float(gap.epochs[-1]) / 2
        r_star = gap.best(offset, until=half)
        error = -smoothed(gap.excess(offset) - gap.worth(r_star), PARTS)[-1]
        rows.append(
            {
                "run_id": gap.curve.run_id,
                "fitted_until_epochs": half,
                "least_misfit_R_D": r_star if np.isfinite(r_star) else None,
                "error_at_end_nats": float(error),
            }
        )
    errors = np.array([row["error_at_end_nats"] for row in rows])
    flops = [6 * gap.curve.n_params * float(gap.tokens[-1]) for gap in gaps]
    return {
        "status": Check.DONE,
        "fitted_on_flops": [c / 2 for c in flops],
        "predicted_at_flops": max(flops),
        "n_predicted": len(rows),
        "loss": loss_errors(errors),
        "curves": rows,
    }
