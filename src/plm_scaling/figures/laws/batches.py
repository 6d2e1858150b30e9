"""Loss at the best rate against batch at each size and amount of tokens, and the law of the best
batch."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.laws.bowls import Varied, bowl_rows, draw_bowls
from plm_scaling.figures.parts.axes import log_axis
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Check
from plm_scaling.laws.tuning.details import Details

BATCH = Varied("batch_tokens", "batch", "batch", " (tokens)", log_axis, ("tokens",))


def batches_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """The rows of `bowl_rows` of the batches; none where too few were tried."""
    rows: list[dict[str, Any]] = []
    for law in laws:
        own = law.details["batch"]
        if own["status"] != Check.NOT_AVAILABLE:
            rows += bowl_rows(BATCH, law.objective, own["groups"], "batches", own["curvature"])
    return pd.DataFrame(rows, columns=BATCH.columns)


@drawn_from("n_params", "tokens", what="size with several batches")
def batches(table: pd.DataFrame) -> Figure:
    """Bowls of the batches, and the best of them against those of the law."""
    return draw_bowls(table, BATCH)
