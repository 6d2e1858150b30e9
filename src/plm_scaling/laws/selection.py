"""Which runs of a table a law rests on and why not the others, for its file and its first line."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from plm_scaling.laws.mask_ratio.parabola import MIN_RATIOS
from plm_scaling.laws.points import not_alike, not_comparable, not_from_scratch, not_usable
from plm_scaling.laws.result import LawResult

SAID = 5  # reasons that the first line names

# why a law may not take a run, from the runs of one objective
WHY_NOT: dict[str, Callable[[pd.DataFrame], "pd.Series[str]"]] = {
    "frontier": not_alike,
    "isoflop": not_comparable,
    "parametric": not_comparable,
    "joint": not_comparable,
    "repeated": not_from_scratch,
    "transfer": not_usable,
    "mask_ratio": not_from_scratch,
}
# why a law that chooses among those (`LawResult.taken`) did not take one
NOT_TAKEN = {
    "frontier": "no validation curve",
    "repeated": "no unique_tokens, not compared with a run that repeats them, or N > U_N",
    "transfer": "in no pair of a transferred run and its partner from scratch",
    "mask_ratio": f"of no size with {MIN_RATIOS} mask ratios at equal tokens",
}
# why a run that was taken is none of the points, where not all are
NOT_A_POINT = {
    "isoflop": "at no accepted minimum or outside its window",
    "joint": "at no accepted minimum or outside its window",
    "mask_ratio": "too far above the best of its size",
}


def why_left_out(law: str, runs: pd.DataFrame) -> "pd.Series[str]":
    """Why `law` may not take each run, '' where it may; objective by objective."""
    said = [WHY_NOT[law](own) for _, own in runs.groupby("objective")]
    return pd.concat(said).reindex(runs.index) if said else pd.Series("", index=runs.index)


def note_selection(result: LawResult, runs: pd.DataFrame, why: "pd.Series[str]") -> None:
    """Fill `excluded` and `selection` of a law fitted to the `runs` of which `why` says nothing."""
    if result.taken is not None:
        unused = (why == "") & ~runs["run_id"].isin(result.taken)
        why = why.mask(unused, NOT_TAKEN[result.law])
    result.excluded = [
        {"run_id": run_id, "why": reason}
        for run_id, reason in zip(runs["run_id"], why, strict=True)
        if reason
    ]
    reasons = list(why[why != ""])
    if result.law in NOT_A_POINT:
        reasons += [NOT_A_POINT[result.law]] * (len(runs) - len(reasons) - result.n_points)
    result.selection = selection(len(runs), reasons)


def selection(given: int, reasons: Sequence[str]) -> dict[str, Any]:
    """Runs given and used, and how many were left out why; what follows a colon is their own."""
    left_out = dict(Counter(why.partition(":")[0] for why in reasons).most_common())
    return {"given": given, "used": given - len(reasons), "left_out": left_out}


def selection_words(found: dict[str, Any]) -> str:
    """'30 of 60 runs used (left out: 30 recipe is not x, the most common)'."""
    left_out = list(found["left_out"].items())
    said = [f"{n} {why}" for why, n in left_out[:SAID]]
    if more := sum(n for _, n in left_out[SAID:]):
        said.append(f"{more} for other reasons")
    words = f"{found['used']} of {found['given']} runs used"
    return f"{words} (left out: {'; '.join(said)})" if said else words
