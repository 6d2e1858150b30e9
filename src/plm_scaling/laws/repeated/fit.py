"""Which runs of a table the repeated law takes, and in which of its two forms.

End points (`repeated`) where fresh and repeated runs share a corpus, hence a held-out set; curves
(`repeated_curves`) where the repeated runs' corpus has no fresh run, so that only runs of the same
size on another corpus tell what fresh tokens would have given.
"""

import numpy as np
import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.laws.points import finished_runs
from plm_scaling.laws.repeated.curves import RepeatedCurve
from plm_scaling.laws.repeated.endpoints import REPEATED, fit_repeated
from plm_scaling.laws.repeated.reference import MIN_RUNS
from plm_scaling.laws.repeated.sizes import fit_repeated_curves
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.intervals import Floats

SAME_SIZE = 0.03  # relative difference of N; a ladder's neighbours are further apart
SAME_LENGTH = 0.05  # relative difference of tokens; runs that share a schedule


def fit_tables(runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings) -> LawResult:
    """The law of `runs`: see `laws.registry`."""
    return fit_repeated_runs(runs, curves, huber_delta=settings.huber_delta, **settings.resampling)


def fit_repeated_runs(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None,
    *,
    huber_delta: float = 1e-3,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
) -> LawResult:
    """Fit the repeated law to the runs of one objective, in the form that the table allows.

    `runs` as `read_runs` gives them, `curves` as in curves.parquet. Raises LawError if the table
    cannot carry the law.
    """
    usable = _scratch(runs)
    again = _repeats(usable)
    if not again.any():
        raise LawError(
            "no run sees tokens more than once; the repeated law needs runs with tokens above "
            "unique_tokens"
        )
    own = set(usable.loc[~again, "corpus"])
    foreign = bool((~usable.loc[again, "corpus"].isin(own)).any())
    if foreign and curves is not None:
        found, left_out, taken = repeated_curve_points(runs, curves)
        if found:
            result = fit_repeated_curves(found, bootstrap=bootstrap, level=level, seed=seed)
            result.warnings += left_out
            result.taken = taken
            return result
    p = repeated_points(runs)
    result = fit_repeated(
        p["n_params"],
        p["tokens"],
        p["unique_tokens"],
        p["loss"],
        run=repeated_table(runs)["run_id"].to_list(),
        huber_delta=huber_delta,
        bootstrap=bootstrap,
        level=level,
        seed=seed,
    )
    if foreign:
        result.warnings.append(
            "repeated and fresh runs come from different corpora, and no curves of the same size "
            "and length show the offset between them; end points mix it into R*_D"
        )
    return result


def repeated_points(runs: pd.DataFrame) -> dict[str, Floats]:
    """n_params, tokens, unique_tokens and loss of the runs of `repeated_table`, each (n,)."""
    table = repeated_table(runs)
    names = ("n_params", "tokens", "unique_tokens", "loss")
    return {name: table[name].to_numpy(float) for name in names}


def repeated_table(runs: pd.DataFrame) -> pd.DataFrame:
    """The usable runs from scratch that give end points.

    Only runs that are trained like repeated ones: with a mask ratio of theirs and, where such
    fresh runs exist, on a corpus of theirs. Raises LawError if no run states `unique_tokens`.
    """
    usable = _scratch(runs)
    again = _repeats(usable)
    if again.any():
        ratios = usable["mask_ratio"].fillna(0)
        usable = usable[ratios.isin(set(ratios[again]))]
        own = usable["corpus"].isin(set(usable.loc[_repeats(usable), "corpus"]))
        usable = usable[own] if (own & ~_repeats(usable)).any() else usable
    if usable.empty:
        raise LawError(
            "no usable run from scratch states unique_tokens; the repeated law needs that column"
        )
    return usable


def repeated_curve_points(
    runs: pd.DataFrame, curves: pd.DataFrame
) -> tuple[list[RepeatedCurve], list[str], set[str]]:
    """The repeated runs with what they are compared to, by size, sentences on those without, and
    the ids of all runs taken.

    Fresh runs are of the same size (within 3 %) and mask ratio; the one beside the curve also has
    the same length (within 5 %) and preferably the same seed; all give end points.
    """
    usable = _scratch(runs)
    valid = curves[(curves["split"] == "valid") & np.isfinite(curves["loss"])]
    by_run = {str(run_id): part.sort_values("tokens") for run_id, part in valid.groupby("run_id")}
    again = _repeats(usable)
    found, left_out, taken = [], [], set()
    for run in usable[again].sort_values(["n_params", "run_id"]).to_dict("records"):
        alike = _near(usable["n_params"], run["n_params"], SAME_SIZE)
        alike &= usable["mask_ratio"].fillna(0) == np.nan_to_num(run["mask_ratio"])
        fresh = usable[~again & alike]
        beside = fresh[_near(fresh["tokens"], run["tokens"], SAME_LENGTH)]
        beside = beside[beside["run_id"].isin(by_run)]
        why = ""
        if run["run_id"] not in by_run:
            why = "has no validation curve"
        elif beside.empty:
            why = "has no fresh run of its size and length with a validation curve"
        else:
            other_seed = beside["seed"] != run["seed"]
            partner = beside.assign(other=other_seed).sort_values(["other", "run_id"]).iloc[0]
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


def _scratch(runs: pd.DataFrame) -> pd.DataFrame:
    """Finished runs from scratch that are not excluded and state their unique tokens."""
    usable = finished_runs(runs)
    return usable[(usable["init_from"] == "") & usable["unique_tokens"].notna()]


def _repeats(runs: pd.DataFrame) -> "pd.Series[bool]":
    return runs["tokens"] > REPEATED * runs["unique_tokens"]


def _near(column: "pd.Series[float]", value: float, tolerance: float) -> "pd.Series[bool]":
    return (column / value - 1).abs() <= tolerance
