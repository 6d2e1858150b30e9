"""Two models of one size, one per objective, from one sum of compute (paper Fig. 3).

A size N is compute-optimal for an objective at C(N) = (N/k)^(1/a), the inverse of its N = k·C^a.
Two models of that size cost C_sum = C_CLM(N) + C_MLM(N); solved for N this gives the size that a
sum affords, and C_MLM/C_CLM = r·N^s how to split it, with s = 1/a_MLM − 1/a_CLM and
r = k_CLM^(1/a_CLM)/k_MLM^(1/a_MLM). N(C_sum) is no power law (each end follows the objective that
costs more); the one given is the best in log-log over the sizes of the table, with its largest
error.

Intervals: a law file keeps percentile intervals of N at many C, which hold the variances of ln k
and a and how the two go together. They are recovered from there and both laws resampled as normal
in (ln k, a), independently, as no run serves both objectives.
"""

from typing import NotRequired

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.laws.details import Bootstrap
from plm_scaling.laws.isoflop import fit as isoflop
from plm_scaling.laws.joint.pair import (
    columns,
    compute_sum,
    equal_size,
    ratio,
    resample_from_frontier,
    size_for,
)
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.intervals import (
    Floats,
    Interval,
    Place,
    check_settings,
    percentile_interval,
    place,
)
from plm_scaling.laws.stats.power import (
    PowerLaw,
    PowerLaws,
    fit_power_law,
    fit_power_laws,
    power_equation,
)
from plm_scaling.laws.verdict import worst
from plm_scaling.runs.tables import ANY_OBJECTIVE, OBJECTIVES

STUDY_SIZES = (1e7, 1e10)  # parameters; used where neither law says how far it reaches
GRID = 25
RESAMPLED = "normal, from the laws"
METHOD = (
    "sum of the inverted N(C) of both objectives, solved for N; N = k*C_sum^a is its least squares "
    "in log-log over the sizes of `split`; intervals by resampling both laws as normal in "
    "(ln k, a), with the covariance that their frontier tables imply"
)


class Approximation(TypedDict):
    """How far N = k·C_sum^a is off, over the sizes of the table (smallest, largest)."""

    sizes: Interval
    largest_relative_error: float


class EqualSplit(TypedDict):
    """The size at which both objectives take half."""

    n_params: float | None
    n_params_interval: Interval | None
    flops_each: float | None


class SplitRow(TypedDict):
    """One compute sum: the size, each model's compute and tokens, the share of the MLM."""

    flops: float
    n_params: float
    n_params_interval: Interval | None
    clm_flops: float
    mlm_flops: float
    clm_tokens: float
    mlm_tokens: float
    mlm_share: float
    mlm_share_interval: Interval | None


class Details(TypedDict):
    """The tables of a joint law; of laws without exponents only which they are, by objective."""

    laws: dict[str, str]
    split: list[SplitRow]
    approximation: NotRequired[Approximation]
    equal_split: NotRequired[EqualSplit]
    bootstrap: NotRequired[Bootstrap]


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of `runs` of both objectives, by isoflop: see `study.laws`."""
    if missing := sorted(set(OBJECTIVES) - set(runs["objective"])):
        why = f"none is {' or '.join(missing)}"
        if set(runs["objective"]) == {ANY_OBJECTIVE}:
            why = "the table has no column objective that says which run is clm and which mlm"
        raise LawError(f"the joint law needs runs of both objectives; {why}")
    clm, mlm = (
        isoflop.fit_tables(runs[runs["objective"] == objective], curves, settings)
        for objective in OBJECTIVES
    )
    return fit_joint(clm, mlm, **settings.resampling)


def fit_joint(
    clm: LawResult,
    mlm: LawResult,
    *,
    sizes: tuple[float, float] | None = None,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[Details]:
    """Size and split for a compute sum from one law per objective, any that has an equation N.

    `sizes` (parameters) bounds the table; by default what the laws' own frontier tables span, or
    10M to 10B. A law without exponent gives status not_identified and no numbers. Raises LawError
    if a law has no equation N, or one whose N does not grow with compute.
    """
    check_settings(bootstrap, level)
    laws = {"clm": _law(clm, "clm"), "mlm": _law(mlm, "mlm")}
    if laws["clm"] is None or laws["mlm"] is None:
        return _unknown([name for name, law in laws.items() if law is None], clm, mlm, level)
    pair = (laws["clm"], laws["mlm"])
    rng = np.random.default_rng(seed)
    samples = (
        resample_from_frontier(clm, bootstrap, rng),
        resample_from_frontier(mlm, bootstrap, rng),
    )
    resampled = bool(np.isfinite(samples[0].exponent + samples[1].exponent).any())
    low, high = sizes or _sizes(clm, mlm)
    n_params = np.geomspace(low, high, GRID)
    sums = compute_sum(pair, n_params)
    approximate = fit_power_law(sums, n_params)
    equal = equal_size(columns(pair))[0]
    error = float(np.abs(approximate(sums) / n_params - 1).max())
    equations = _equations(pair, approximate, samples, sums, level)
    trend = equations["C_mlm/C_clm"].interval["s"]
    crossing = trend is not None and place(0, trend) in (Place.BELOW, Place.ABOVE)
    return LawResult(
        law="joint",
        method=METHOD,
        n_points=clm.n_points + mlm.n_points,
        equations=equations,
        objective_value=None,
        residual_rms=None,
        status=worst((clm.status, mlm.status)),
        warnings=_warnings(resampled, trend, float(equal), low, high),
        objective="both",
        details={
            "laws": {"clm": clm.law, "mlm": mlm.law},
            "approximation": {"sizes": (low, high), "largest_relative_error": error},
            "equal_split": {
                "n_params": float(equal) if np.isfinite(equal) else None,
                "n_params_interval": (
                    percentile_interval(equal_size(samples), level) if crossing else None
                ),
                "flops_each": float(pair[0].inverse(equal)) if np.isfinite(equal) else None,
            },
            "split": _split(pair, samples, sums, n_params, level),
            "bootstrap": {"kind": RESAMPLED, "resamples": bootstrap * resampled, "seed": seed},
        },
    )


def _law(result: LawResult, objective: str) -> PowerLaw | None:
    if "N" not in result.equations:
        raise LawError(
            f"the {objective} law '{result.law}' has no equation N = k*C^a; give isoflop, frontier "
            "or parametric"
        )
    k, a = (result.equations["N"].parameters[name] for name in ("k", "a"))
    if k is None or a is None:
        return None
    if a <= 0:
        raise LawError(
            f"the {objective} law '{result.law}' has a={a:.3g}: its best size does not grow with "
            "compute, so no compute belongs to a size; fit it to more budgets"
        )
    return PowerLaw(float(np.log(k)), a)


def _sizes(clm: LawResult, mlm: LawResult) -> tuple[float, float]:
    """The sizes at which both laws are within their budgets or a decade beyond."""
    tables = [[r["n_params"] for r in law.details.get("frontier", [])] for law in (clm, mlm)]
    if not all(tables):
        return STUDY_SIZES
    low, high = max(map(min, tables)), min(map(max, tables))
    return (low, high) if low < high else STUDY_SIZES


def _equations(
    pair: tuple[PowerLaw, PowerLaw],
    approximate: PowerLaw,
    samples: tuple[PowerLaws, PowerLaws],
    sums: Floats,
    level: float,
) -> dict[str, Equation]:
    laws = fit_power_laws(np.log(sums), np.log(size_for(samples, sums)))
    return {
        "N": power_equation("k*C_sum^a", approximate, laws, level),
        "C_mlm/C_clm": power_equation("r*N^s", ratio(columns(pair)).first, ratio(samples), level),
    }


def _split(
    pair: tuple[PowerLaw, PowerLaw],
    samples: tuple[PowerLaws, PowerLaws],
    sums: Floats,
    n_params: Floats,
    level: float,
) -> list[SplitRow]:
    rows: list[SplitRow] = []
    sizes = size_for(samples, sums).T
    for flops, n, drawn in zip(sums, n_params, sizes, strict=True):
        clm, mlm = (float(law.inverse(n)) for law in pair)
        with np.errstate(over="ignore"):
            shares = np.exp((np.log(drawn) - samples[1].log_k) / samples[1].exponent) / flops
        rows.append(
            {
                "flops": float(flops),
                "n_params": float(n),
                "n_params_interval": percentile_interval(drawn, level),
                "clm_flops": clm,
                "mlm_flops": mlm,
                "clm_tokens": clm / (6 * float(n)),
                "mlm_tokens": mlm / (6 * float(n)),
                "mlm_share": mlm / float(flops),
                "mlm_share_interval": percentile_interval(shares, level),
            }
        )
    return rows


def _warnings(
    resampled: bool, trend: Interval | None, equal: float, low: float, high: float
) -> list[str]:
    warnings = []
    if not resampled:
        warnings.append("a law has no intervals, so this one has none either")
    if trend is not None and place(0, trend) not in (Place.BELOW, Place.ABOVE):
        warnings.append(
            f"the interval of s ({trend[0]:.2f} to {trend[1]:.2f}) holds 0 or ends at it: "
            "whose share grows with size is not determined, nor where the shares are equal"
        )
    if not low <= equal <= high:
        warnings.append(
            f"equal shares would fall at N={equal:.3g}, outside the sizes of the table "
            f"({low:.3g} to {high:.3g}): within them one objective always takes more"
        )
    return warnings


def _unknown(
    missing: list[str], clm: LawResult, mlm: LawResult, level: float
) -> LawResult[Details]:
    return LawResult(
        law="joint",
        method=METHOD,
        n_points=clm.n_points + mlm.n_points,
        equations={"N": power_equation("k*C_sum^a", None, None, level)},
        objective_value=None,
        residual_rms=None,
        warnings=[],
        evidence={
            "undetermined": [f"no exponent of N(C) for {' and '.join(missing)}: nothing to invert"]
        },
        objective="both",
        details={"laws": {"clm": clm.law, "mlm": mlm.law}, "split": []},
    )
