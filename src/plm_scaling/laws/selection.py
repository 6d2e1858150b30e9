"""Which runs of a table a law rests on and why not the others, for its file and its first line."""

from collections import Counter
from collections.abc import Sequence
from typing import cast

import pandas as pd

from plm_scaling.laws import points
from plm_scaling.laws.result import LawResult, Run, Selection
from plm_scaling.study.laws import LAWS, Axes

SAID = 5  # reasons that the first line names


def why_left_out(law: str, runs: pd.DataFrame, axes: Axes = "best") -> "pd.Series[str]":
    """Why `law` may not take each run, '' where it may; objective by objective. Of runs that differ
    only in settings it may take those that `axes` says."""
    unusable = getattr(points, LAWS[law].unusable)
    if not LAWS[law].of_settings:
        runs = runs.assign(excluded=points.not_swept(runs, axes))
    said = [unusable(own) for _, own in runs.groupby("objective")]
    return pd.concat(said).reindex(runs.index) if said else pd.Series("", index=runs.index)


def note_selection(result: LawResult, runs: pd.DataFrame, why: "pd.Series[str]") -> None:
    """Fill `excluded`, `selection` and `runs` of a law fitted to the `runs` of which `why` says
    nothing."""
    law = LAWS[result.law]
    if result.taken is not None:
        unused = (why == "") & ~runs["run_id"].isin(result.taken)
        why = why.mask(unused, law.not_taken)
    result.excluded = [
        {"run_id": run_id, "why": reason}
        for run_id, reason in zip(runs["run_id"], why, strict=True)
        if reason
    ]
    taken = runs.loc[why == "", list(Run.__annotations__)]
    result.runs = cast(list[Run], taken.to_dict("records"))
    reasons = list(why[why != ""])
    if law.not_a_point:
        reasons += [law.not_a_point] * (len(runs) - len(reasons) - result.n_points)
    result.selection = selection(len(runs), reasons)


def selection(given: int, reasons: Sequence[str]) -> Selection:
    """Runs given and used, and how many were left out why; what follows a colon is their own."""
    left_out = dict(Counter(why.partition(":")[0] for why in reasons).most_common())
    return {"given": given, "used": given - len(reasons), "left_out": left_out}


def selection_words(found: Selection) -> str:
    """'30 of 60 runs used (left out: 30 recipe is not x, the most common)'."""
    left_out = list(found["left_out"].items())
    said = [f"{n} {why}" for why, n in left_out[:SAID]]
    if more := sum(n for _, n in left_out[SAID:]):
        said.append(f"{more} for other reasons")
    words = f"{found['used']} of {found['given']} runs used"
    return f"{words} (left out: {'; '.join(said)})" if said else words
