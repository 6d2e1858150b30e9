"""Loss against learning rate at each size and amount of tokens, and the law of the best rate."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.laws.bowls import Varied, bowl_rows, draw_bowls
from plm_scaling.figures.parts.axes import rate_axis
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.tuning.details import Details

RATE = Varied(
    "peak_learning_rate", "rate", "peak learning rate", "", rate_axis, ("tokens", "batch_tokens")
)


def tuning_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """The rows of `bowl_rows` of the learning rates."""
    rows = [
        row
        for law in laws
        for row in bowl_rows(
            RATE,
            law.objective,
            law.details["groups"],
            "rates",
            law.equations["excess"].parameters["q"],
        )
    ]
    return pd.DataFrame(rows, columns=RATE.columns)


@drawn_from("n_params", "tokens", what="size with several learning rates")
def tuning(table: pd.DataFrame) -> Figure:
    """Bowls of the learning rates, and the best of them against those of the law."""
    return draw_bowls(table, RATE)
