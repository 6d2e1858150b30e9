"""What starting from the other objective is worth: loss laws, transferred tokens, compute balance.

Over pairs of runs that differ only in their start, L = k·C^p is fitted in log-log, from scratch
and transferred, with C the compute of the target training (Cheng et al. 2024, Table 4), and
D_t = k·D_f^a·N^b (`tokens`). The balance asks how much compute from scratch would give
the transferred loss, and divides it by all that was spent, source included.
"""

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.common.progress import many
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.details import (
    Bootstrap,
    HeldOutLoss,
    NotAvailable,
    held_out_loss,
    not_available,
)
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.intervals import (
    NO_BOOTSTRAP,
    Floats,
    Interval,
    check_settings,
    multiplicities,
    percentile_interval,
)
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws, fit_power_law, power_equation
from plm_scaling.laws.status import Check
from plm_scaling.laws.transfer.pairs import TransferPair, transfer_points
from plm_scaling.laws.transfer.split import ShareRow, best_split, split_points
from plm_scaling.laws.transfer.tokens import (
    StartRow,
    fit_transferred,
    match_pairs,
    start_rows,
    widening,
)

FEW_PAIRS = 8
SHARED_SCHEDULE = (
    "partners share a schedule, so matching them before the end compares losses at different "
    "learning rates; D_t includes that"
)
CONFOUNDED = 0.8  # correlation of share and size beyond which their effects are confounded
RESAMPLED = "pairs, with evaluation noise on the final losses"
METHOD = (
    "pairs of runs alike but for their start; L = k*C^p by least squares in log-log over pairs; "
    "D_t = k*D_f^a*N^b by least squares in logs where the smoothed scratch curve reaches the loss "
    "of the transferred one; intervals by a bootstrap over pairs with evaluation noise on the "
    "final losses, widened to those of Student's t; residual_rms and objective_value of ln(loss) "
    "around the transferred law"
)


class PairRow(TypedDict):
    """A transferred run and its partner from scratch: gain, and compute from scratch that would
    give the transferred loss over all compute spent."""

    run_id: str
    scratch_run_id: str
    source: str
    n_params: float
    tokens: float
    flops: float
    source_flops: float
    source_share: float
    scratch_loss: float
    loss: float
    gain_nats: float
    gain_interval: Interval | None
    compute_ratio: float | None
    compute_ratio_interval: Interval | None
    compute_ratio_from_law: float | None


class Split(TypedDict):
    """The best source share, None where no size was trained with several; the smallest and the
    largest share of the pairs, and how they correlate with ln N."""

    best_share: float | None
    groups: list[ShareRow]
    shares: Interval
    share_size_correlation: float | None


class Details(TypedDict):
    """The tables of a transfer law."""

    pairs: list[PairRow]
    D_t_rms_ln: float | None
    D_t_by_start: list[StartRow]
    split: Split
    held_out: HeldOutLoss | NotAvailable
    bootstrap: Bootstrap


def fit_transfer(
    pairs: list[TransferPair],
    *,
    sweep: dict[str, Floats] | None = None,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult:
    """Fit the transfer laws of one direction to its pairs (`transfer_points`).

    `sweep` holds n_params, flops, source_flops and loss of all runs (`split_points`), from which
    the best split follows if the shares were varied at fixed size. Raises LawError for bad
    settings; fewer than two sizes give status not_identified.
    """
    check_settings(bootstrap, level)
    names = ("flops", "loss", "scratch_loss")
    flops, loss, scratch = check_runs(**{n: [getattr(p, n) for p in pairs] for n in names})
    rng = np.random.default_rng(seed)
    errors = [np.array([getattr(p, n) for p in pairs]) for n in ("loss_error", "scratch_error")]
    noisy, noisy_scratch = (
        value + error * rng.standard_normal((bootstrap, len(pairs)))
        for value, error in zip((loss, scratch), errors, strict=True)
    )
    counts = multiplicities(len(pairs), bootstrap, seed + 1)
    budgets = len(np.unique(flops))
    law = fit_power_law(flops, loss) if budgets > 1 else None
    scratch_law = fit_power_law(flops, scratch) if budgets > 1 else None
    wider = widening(len(pairs), level)
    transfer_laws = _wider(_resampled(flops, noisy, counts), law, wider)
    scratch_laws = _wider(_resampled(flops, noisy_scratch, counts), scratch_law, wider)
    matches = match_pairs(pairs)
    tokens, tokens_rms, tokens_warnings = fit_transferred(matches, counts, level)
    undetermined = tokens_warnings if tokens.parameters["b"] is None and matches.tried else []
    if (of_size := tokens.known("b")) is not None and of_size[1] <= 0 <= of_size[2]:
        tokens_warnings.append(
            f"the interval of b ({of_size[1]:.2g} to {of_size[2]:.2g}) holds 0: the pairs do not "
            "show that transferred tokens change with the size"
        )
    residuals = np.log(loss / law(flops)) if law else None
    rows = _pair_rows(pairs, scratch_law, scratch_laws, noisy_scratch - noisy, level)
    split, split_warning = _split(rows, sweep)
    return LawResult(
        law="transfer",
        method=METHOD,
        n_points=len(pairs),
        equations={
            "scratch": power_equation("k*C^p", scratch_law, scratch_laws, level),
            "transfer": power_equation("k*C^p", law, transfer_laws, level),
            "D_t": tokens,
        },
        objective_value=None if residuals is None else float((residuals**2).sum()),
        residual_rms=None if residuals is None else rms(residuals),
        warnings=[
            *_warnings(rows, bootstrap, budgets),
            *(said for said in tokens_warnings if said not in undetermined),
            split_warning,
        ],
        details={
            "pairs": rows,
            "D_t_rms_ln": tokens_rms,
            "D_t_by_start": start_rows(pairs, level),
            "split": split,
            "held_out": _held_out(flops, loss),
            "bootstrap": {"kind": RESAMPLED, "resamples": bootstrap, "seed": seed},
        },
        evidence={"points": budgets, "undetermined": undetermined},
    )


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of the `runs` that make pairs, without `curves` without D_t: see `study.laws`."""
    pairs = transfer_points(runs, curves)
    result = fit_transfer(pairs, sweep=split_points(runs), **settings.resampling)
    result.taken = {run for pair in pairs for run in (pair.run_id, pair.scratch_run_id)}
    return result


def _wider(laws: PowerLaws, law: PowerLaw | None, wider: float) -> PowerLaws:
    """Resampled laws so many times as far from the estimate; NaN for NaN."""
    if law is None:
        return laws
    return PowerLaws(
        law.log_k + wider * (laws.log_k - law.log_k),
        law.exponent + wider * (laws.exponent - law.exponent),
    )


def _resampled(flops: Floats, losses: Floats, counts: Floats) -> PowerLaws:
    """L = k·C^p for each resample: losses and counts (resamples, pairs); NaN with one budget."""
    x, y = np.log(flops), np.log(losses)
    total = counts.sum(axis=1)
    mean_x, mean_y = (counts @ x) / total, (counts * y).sum(axis=1) / total
    dx = x - mean_x[:, None]
    spread = (counts * dx**2).sum(axis=1)
    one_budget = spread < 1e-6 * total
    cross = (counts * dx * (y - mean_y[:, None])).sum(axis=1)
    exponent = np.where(one_budget, np.nan, cross / np.where(one_budget, 1.0, spread))
    return PowerLaws(mean_y - exponent * mean_x, exponent)


def _pair_rows(
    pairs: list[TransferPair], law: PowerLaw | None, laws: PowerLaws, gains: Floats, level: float
) -> list[PairRow]:
    """Gain and compute balance of each pair.

    Scratch compute that gives the transferred loss: the pair's own budget, moved along the slope
    of the scratch law, C·(L_scratch/L)^(−1/p); also the scratch law inverted, (L/k)^(1/p),
    which takes the law's residual at this pair for a part of the gain.
    """
    rows: list[PairRow] = []
    for k, pair in enumerate(pairs):
        total = pair.flops + pair.source_flops
        gain = pair.scratch_loss - pair.loss
        ratio, from_law, interval = None, None, None
        if law is not None and law.exponent < 0:
            log_ratio = np.log(pair.scratch_loss / pair.loss)
            ratio = float(pair.flops / total * np.exp(-log_ratio / law.exponent))
            from_law = float(law.inverse(pair.loss) / total)
            with np.errstate(over="ignore", invalid="ignore"):
                samples = np.log1p(gains[:, k] / pair.loss) / -laws.exponent
                samples = pair.flops / total * np.exp(samples)
            interval = percentile_interval(samples, level)
        gain_interval = percentile_interval(gains[:, k], level)
        # Without noise the interval of the balance would be that of the slope alone.
        has_noise = pair.loss_error > 0 and pair.scratch_error > 0
        rows.append(
            {
                "run_id": pair.run_id,
                "scratch_run_id": pair.scratch_run_id,
                "source": pair.source,
                "n_params": pair.n_params,
                "tokens": pair.tokens,
                "flops": pair.flops,
                "source_flops": pair.source_flops,
                "source_share": pair.source_flops / total,
                "scratch_loss": pair.scratch_loss,
                "loss": pair.loss,
                "gain_nats": gain,
                "gain_interval": gain_interval if has_noise else None,
                "compute_ratio": ratio,
                "compute_ratio_interval": interval if has_noise else None,
                "compute_ratio_from_law": from_law,
            }
        )
    return rows


def _split(rows: list[PairRow], sweep: dict[str, Floats] | None) -> tuple[Split, str]:
    """The best source share where it was varied at fixed size; otherwise None, and why."""
    tried = [] if sweep is None else best_split(**sweep)
    shares = [row["share"] for row in tried if row["share"] is not None]
    pair_shares = np.array([row["source_share"] for row in rows])
    sizes = np.log([row["n_params"] for row in rows])
    varied = len(rows) > 2 and np.ptp(pair_shares) > 0 and np.ptp(sizes) > 0
    correlation = float(np.corrcoef(pair_shares, sizes)[0, 1]) if varied else None
    out: Split = {
        "best_share": float(np.median(shares)) if shares else None,
        "groups": tried,
        "shares": (float(pair_shares.min()), float(pair_shares.max())),
        "share_size_correlation": correlation,
    }
    if shares:
        return out, (
            f"the best source share comes from {many(len(shares), 'size')} and lies between "
            f"{min(shares):.2f} and {max(shares):.2f}"
        )
    reason = "no size was trained with four or more shares at one compute sum"
    if correlation is not None and abs(correlation) > CONFOUNDED:
        reason += f"; share and size are correlated ({correlation:.2f}), "
        reason += "so their effects are confounded"
    if ratios := [row["compute_ratio"] for row in rows if row["compute_ratio"] is not None]:
        reason += (
            f". At the shares tried, {out['shares'][0]:.0%} to {out['shares'][1]:.0%}, transfer "
            f"gives what {min(ratios):.2f} to {max(ratios):.2f} times its whole compute would give "
            "from scratch"
        )
    return out, f"the best split is not identified: {reason}"


def _warnings(rows: list[PairRow], bootstrap: int, budgets: int) -> list[str]:
    warnings = []
    if budgets < 2:
        warnings.append("pairs at one budget only; a power law needs two")
    elif len(rows) < FEW_PAIRS:
        warnings.append(
            f"{len(rows)} pairs, one run each: what a rerun would change is known only from how "
            "the pairs scatter about the laws"
        )
    if not bootstrap:
        warnings.append(NO_BOOTSTRAP)
    if unsure := [r["run_id"] for r in rows if r["gain_interval"] and r["gain_interval"][0] <= 0]:
        warnings.append(f"gains within evaluation noise: {', '.join(unsure)}")
    return [*warnings, SHARED_SCHEDULE]


def _held_out(flops: Floats, loss: Floats) -> HeldOutLoss | NotAvailable:
    """The pair of largest compute, predicted by the transferred law of the others."""
    last = int(flops.argmax())
    rest = np.delete(np.arange(len(flops)), last)
    if len(np.unique(flops[rest])) < 2:
        return not_available("two budgets are needed besides the largest")
    law = fit_power_law(flops[rest], loss[rest])
    return {
        "status": Check.DONE,
        "fitted_on_flops": sorted(map(float, flops[rest])),
        "predicted_at_flops": float(flops[last]),
        "loss": held_out_loss(float(loss[last]), float(law(float(flops[last])))),
    }
