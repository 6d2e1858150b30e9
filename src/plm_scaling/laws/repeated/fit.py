"""Which runs of a table the repeated law takes, and in which of its two forms.

End points (`repeated`) where fresh and repeated runs share a corpus, hence a held-out set; curves
(`repeated_curves`) where the repeated runs' corpus has no fresh run, so that only runs of the same
size on another corpus tell what fresh tokens would have given.
"""

import numpy as np
import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.laws.points import columns, groups
from plm_scaling.laws.repeated.curves import RepeatedCurve
from plm_scaling.laws.repeated.details import Details
from plm_scaling.laws.repeated.endpoints import REPEATED, fit_repeated
from plm_scaling.laws.repeated.reference import MIN_RUNS
from plm_scaling.laws.repeated.sizes import fit_repeated_curves
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.settings import Settings

SAME_SIZE = 0.03  # relative difference of N; a ladder's neighbours are further apart
SAME_LENGTH = 0.05  # relative difference of tokens; runs that share a schedule


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of the `runs` that state their unique tokens, in the form that they allow: see
    `study.laws`."""
    usable = runs[runs["unique_tokens"].notna()]
    if usable.empty:
        raise LawError(
            "column unique_tokens is missing or empty; the repeated law needs it: the number of "
            "different tokens that a run could see"
        )
    again = _repeats(usable)
    if not again.any():
        raise LawError(
            "no run sees tokens more than once; the repeated law needs runs with tokens above "
            "unique_tokens"
        )
    own = set(usable.loc[~again, "corpus"])
    foreign = bool((~usable.loc[again, "corpus"].isin(own)).any())
    if foreign and curves is not None and settings.base is None:
        found, left_out, taken = repeated_curve_points(usable, curves)
        if found:
            of_curves = fit_repeated_curves(found, **settings.resampling)
            of_curves.warnings += left_out
            of_curves.taken = taken
            return of_curves
    table = repeated_table(usable)
    result = fit_repeated(
        **columns(table, "n_params", "tokens", "unique_tokens", "loss"),
        group=groups(table),
        base=None if settings.base is None else read_law(settings.base),
        huber_delta=settings.huber_delta,
        **settings.resampling,
    )
    result.taken = set(table["run_id"])
    if foreign:
        result.warnings.append(
            "repeated and fresh runs come from different corpora, and no curves of the same size "
            "and length show the offset between them; end points mix it into R*_D"
        )
    return result


def repeated_table(usable: pd.DataFrame) -> pd.DataFrame:
    """The runs that give end points: those trained like repeated ones, with a mask ratio of theirs
    and, where such fresh runs exist, on a corpus of theirs."""
    again = _repeats(usable)
    ratios = usable["mask_ratio"].fillna(0)
    usable = usable[ratios.isin(set(ratios[again]))]
    own = usable["corpus"].isin(set(usable.loc[_repeats(usable), "corpus"]))
    return usable[own] if (own & ~_repeats(usable)).any() else usable


def repeated_curve_points(
    usable: pd.DataFrame, curves: pd.DataFrame
) -> tuple[list[RepeatedCurve], list[str], set[str]]:
    """The repeated runs with what they are compared to, by size, sentences on those without, and
    the ids of all runs taken.

    Fresh runs are of the same size (within 3 %) and mask ratio; the one whose curve is compared
    also has the same length (within 5 %) and preferably the same seed; all give end points.
    """
    valid = curves[(curves["split"] == "valid") & np.isfinite(curves["loss"])]
    by_run = {str(run_id): part.sort_values("tokens") for run_id, part in valid.groupby("run_id")}
    again = _repeats(usable)
    found, left_out, taken = [], [], set()
    for run in usable[again].sort_values(["n_params", "run_id"]).to_dict("records"):
        alike = _near(usable["n_params"], run["n_params"], SAME_SIZE)
        alike &= usable["mask_ratio"].fillna(0) == np.nan_to_num(run["mask_ratio"])
        fresh = usable[~again & alike]
        partners = fresh[_near(fresh["tokens"], run["tokens"], SAME_LENGTH)]
        partners = partners[partners["run_id"].isin(by_run)]
        why = ""
        if run["run_id"] not in by_run:
            why = "has no validation curve"
        elif partners.empty:
            why = "has no fresh run of its size and length with a validation curve"
        else:
            other_seed = partners["seed"] != run["seed"]
            partner = partners.assign(other=other_seed).sort_values(["other", "run_id"]).iloc[0]
            fresh = fresh[fresh["corpus"] == partner["corpus"]]
            if fresh["tokens"].nunique() < MIN_RUNS:
                why = f"has fewer than {MIN_RUNS} fresh runs of its size, of different length"
        if why:
            left_out.append(f"run {run['run_id']} repeats tokens but {why}; it is not used")
            continue
        taken |= {run["run_id"], str(partner["run_id"]), *fresh["run_id"]}
        here, there = by_run[run["run_id"]], by_run[partner["run_id"]]
        found.append(
            RepeatedCurve(
                run_id=run["run_id"],
                n_params=float(run["n_params"]),
                unique_tokens=float(run["unique_tokens"]),
                tokens=here["tokens"].to_numpy(float),
                loss=here["loss"].to_numpy(float),
                fresh_run_id=str(partner["run_id"]),
                fresh_tokens=there["tokens"].to_numpy(float),
                fresh_loss=there["loss"].to_numpy(float),
                decayed_tokens=fresh["tokens"].to_numpy(float),
                decayed_loss=fresh["loss"].to_numpy(float),
            )
        )
    return found, left_out, taken


def _repeats(runs: pd.DataFrame) -> "pd.Series[bool]":
    return runs["tokens"] > REPEATED * runs["unique_tokens"]


def _near(column: "pd.Series[float]", value: float, tolerance: float) -> "pd.Series[bool]":
    return (column / value - 1).abs() <= tolerance
