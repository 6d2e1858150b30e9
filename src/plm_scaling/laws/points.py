"""Which runs of a table a law may not use, and why; and the arrays of those that it may."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.noise import loss_noise
from plm_scaling.study.cell import MAX_EPOCHS
from plm_scaling.study.laws import Axes
from plm_scaling.study.sweep_table import TUNING

LIKE_COMPUTE = 1.2
WHAT_A_RUN_IS = (
    *("objective", "n_params", "tokens", "flops", "loss", "unique_tokens", "mask_ratio", "masking"),
    *("corpus", "recipe", "init_from", "source_flops", "seed", "group"),
    *("batch_tokens", "peak_learning_rate", "weight_decay"),
)
SETTINGS = ["batch_tokens", "peak_learning_rate", "weight_decay"]
BESIDE_SETTINGS = [  # what runs of one place in the sweep have in common; and nearly their tokens
    *("objective", "corpus", "recipe", "masking", "mask_ratio", "init_from", "source_flops"),
    "n_params",
]
SAME_TOKENS = 1.03  # a batch of another size ends up to 2 % away from the tokens of its neighbour


def most_shared(values: "pd.Series[Any]") -> Any:
    """The most common value, of equally common ones the first; None if there is none."""
    counts = values.value_counts(sort=False)
    return counts.idxmax() if len(counts) else None


def not_finished(runs: pd.DataFrame) -> "pd.Series[str]":
    """Why no law may use a run: what its table says, its status, or that an earlier one is the same
    in all that it is and reached; '' where one may."""
    why = runs["excluded"].where(runs["excluded"] != "", runs["status"])
    why = why.where(why != "finished", "")
    same = [name for name in WHAT_A_RUN_IS if name in runs]
    usable = runs[why == ""]
    first = usable.groupby(same, dropna=False, sort=False)["run_id"].transform("first")
    again = first[first != usable["run_id"]]
    why.loc[again.index] = "duplicate of another row: " + again
    return why


def not_swept(runs: pd.DataFrame, axes: Axes) -> "pd.Series[str]":
    """Why the laws of a sweep do not take a run, whatever else they ask; '' where they may.

    It is of sweep.tuning, which knows the best rate of some sizes only; or with `axes` best another
    setting (batch, peak learning rate, weight decay) of the same place in the sweep has the lower
    loss (nats/token), a mean over its seeds.
    """
    why = not_finished(runs)
    if "part" in runs:
        why = why.mask((why == "") & (runs["part"] == TUNING), "only tunes the learning rate")
    if axes == "all" or not set(SETTINGS) <= set(runs):
        return why
    usable = runs[why == ""]
    place = places(usable)
    own = usable.groupby([place, *SETTINGS], dropna=False)["loss"].transform("mean")
    worse = own > own.groupby(place).transform("min")
    why.loc[usable.index[worse]] = "another setting of its axes is better"
    return why


def places(runs: pd.DataFrame) -> "pd.Series[int]":
    """The number of each run's place in the sweep: what runs have in common that differ only in
    settings and seed."""
    ordered = runs.sort_values("tokens", kind="stable")
    same = [name for name in BESIDE_SETTINGS if name in runs]
    first = ordered.groupby(same, dropna=False)["tokens"].transform(_first_alike)
    return ordered.groupby([*same, first], dropna=False).ngroup().reindex(runs.index)


def _first_alike(tokens: "pd.Series[float]") -> list[float]:
    """Of each of rising numbers the first from which it is less than SAME_TOKENS away."""
    firsts: list[float] = []
    for value in tokens:
        alike = firsts and value <= firsts[-1] * SAME_TOKENS
        firsts.append(firsts[-1] if alike else value)
    return firsts


def not_usable(runs: pd.DataFrame) -> "pd.Series[str]":
    """Why no law of these runs may use one, '' where it may: finished, not excluded, of the recipe
    that most share, since N of another architecture is another quantity, and of their masking,
    since what is kept or replaced of a masked model's input sets the level of its loss."""
    return of_others(runs, not_finished(runs), ("recipe", "masking"))


def not_from_scratch(runs: pd.DataFrame) -> "pd.Series[str]":
    """Why a law of runs from scratch may not use one, '' where it may: see `not_usable`."""
    why = not_usable(runs)
    return why.where((why != "") | (runs["init_from"] == ""), "not trained from scratch")


def not_alike(runs: pd.DataFrame) -> "pd.Series[str]":
    """Why the loss of a run cannot be compared with those of most, '' where it can.

    Runs must be finished, not excluded, trained from scratch, on the corpus, in the recipe, and
    with the masking and mask ratio that most share: what they learnt, or the task, is another
    otherwise.
    """
    why = not_finished(runs)
    why = why.where((why != "") | (runs["init_from"] == ""), "not trained from scratch")
    return of_others(runs, why, ("corpus", "recipe", "masking", "mask_ratio"))


def not_comparable(runs: pd.DataFrame) -> "pd.Series[str]":
    """Why the loss of a run depends on more than N and D, '' where it does not: `not_alike`, or it
    saw a token more than MAX_EPOCHS times."""
    why = not_alike(runs)
    many = (why == "") & (runs["tokens"] > MAX_EPOCHS * runs["unique_tokens"])
    return why.mask(many, f"more than {MAX_EPOCHS:g} epochs")


def of_others(
    runs: pd.DataFrame, why: "pd.Series[str]", columns: Sequence[str]
) -> "pd.Series[str]":
    """`why`, and for those left over that they have not the values that most of them have."""
    for column in columns:
        common = most_shared(runs.loc[why == "", column])
        if common is not None:
            other = (why == "") & (runs[column] != common)
            said = "empty" if common == "" else common
            why = why.mask(other, f"{column} is not {said}, the most common")
    return why


def columns(runs: pd.DataFrame, *names: str) -> dict[str, Any]:
    """Columns of the table as arrays (n,), by name."""
    return {name: runs[name].to_numpy(float) for name in names}


def groups(runs: pd.DataFrame) -> "pd.Series[str] | None":
    """The label of what each run belongs to, its own id where the table gives none; None if it
    gives none at all."""
    if "group" not in runs or not (runs["group"] != "").any():
        return None
    return runs["group"].where(runs["group"] != "", runs["run_id"])


def parametric_points(runs: pd.DataFrame) -> dict[str, Any]:
    """The arrays of `fit_parametric`, of the usable runs of one objective."""
    return columns(runs, "n_params", "tokens", "loss")


def isoflop_points(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> dict[str, Any]:
    """The arrays of `fit_isoflop`; with `curves` (curves.parquet) also `loss_sd`, the noise; with a
    column `budget` also what it says."""
    points = columns(runs, "n_params", "tokens", "flops", "loss")
    if "budget" in runs and runs["budget"].notna().any():
        points |= columns(runs, "budget")
    if curves is not None:
        noise = loss_noise(curves, runs["run_id"])
        if np.isfinite(noise).all():
            points["loss_sd"] = noise
    return points


def near_frontier(
    flops: Floats, loss: Floats, within: float = 0.03, like: float = LIKE_COMPUTE
) -> NDArray[np.bool_]:
    """Whether no run of at most `like` times a run's compute is better by more than `within` nats.

    Shapes (n,). Runs far from the frontier are those that the form E + A/N^α + B/D^β describes
    worst: very small ones trained long, very large ones with few steps.
    """
    order = np.argsort(flops, kind="stable")
    best = np.minimum.accumulate(loss[order])
    reached = np.searchsorted(flops[order], flops * like, side="right")
    return loss <= best[reached - 1] + within
