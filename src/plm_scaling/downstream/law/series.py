"""The scores of one metric on one dataset by the cells of an objective: what a law fits."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from plm_scaling.laws.points import of_others
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.runs.scores import CELL, JUDGED, KEY, LOWER_IS_BETTER, UNTRAINED


@dataclass(frozen=True)
class Series:
    """The cells (n,) of a series, by falling loss."""

    dataset: str
    protocol: str
    metric: str
    model: list[str]
    loss: Floats
    """Held out, nats/token."""
    score: Floats
    error: Floats
    """Standard error of each score over the items; 0 where it is not known."""
    n_params: Floats
    flops: Floats
    begins: Floats | None
    """The score of an untrained cell of the same shape, else of the untrained ones together."""
    begins_error: float

    @property
    def name(self) -> str:
        """'proteingym llr spearman'."""
        return f"{self.dataset} {self.protocol} {self.metric}"

    @property
    def better(self) -> int:
        """1 where a higher score is better, else -1."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    def take(self, rows: Floats) -> "Series":
        """The cells of a mask (n,)."""
        kept = np.flatnonzero(rows)
        arrays = {
            name: getattr(self, name)[kept]
            for name in ("loss", "score", "error", "n_params", "flops")
        }
        begins = None if self.begins is None else self.begins[kept]
        models = [self.model[i] for i in kept]
        known = (self.dataset, self.protocol, self.metric, models)
        return Series(*known, **arrays, begins=begins, begins_error=self.begins_error)


def why_not_used(own: pd.DataFrame) -> "pd.Series[str]":
    """Why a cell's row cannot be a point of a law, '' where it can: of the recipe and corpus that
    most cells share, since the losses of others do not compare."""
    why = pd.Series("", index=own.index)
    why = why.mask(own["loss"].isna(), "no loss")
    why = why.mask(own["value"].isna(), "score not defined")
    return of_others(own, why, ("recipe", "corpus"))


def series_of(scores: pd.DataFrame, objective: str) -> list[Series]:
    """All series of an objective, in the order of the table; a cell scored twice (seeds, layers)
    counts once, by the mean."""
    own = scores[(scores["objective"] == objective) & (scores["task"] != JUDGED)]
    own = own[own["kind"].isin([CELL, UNTRAINED])]
    trained = own[own["kind"] == CELL]
    used = trained[why_not_used(trained) == ""]
    begin = own[(own["kind"] == UNTRAINED) & own["value"].notna()]
    begin = begin[begin["recipe"].isin(used["recipe"])]
    found = []
    for key, cells in used.groupby(KEY, sort=False):
        names = (str(key[0]), str(key[1]), str(key[2]))
        numbers = ["loss", "value", "standard_error", "n_params", "flops"]
        cells = cells.groupby("model", sort=False)[numbers].mean().sort_values("loss")[::-1]
        untrained = begin[(begin[KEY] == list(key)).all(axis=1)]
        begins, error = _begins(cells["n_params"], untrained)
        loss, score, errors, size, flops = (cells[name].to_numpy(float) for name in numbers)
        found.append(
            Series(
                *names, list(map(str, cells.index)), loss, score, np.nan_to_num(errors), size,
                flops, begins, error,
            )
        )  # fmt: skip
    return found


def _begins(sizes: "pd.Series[float]", untrained: pd.DataFrame) -> tuple[Floats | None, float]:
    """The score before training of each cell, and its typical standard error."""
    if untrained.empty:
        return None, 0.0
    of_size = untrained.groupby("n_params")["value"].mean()
    own = sizes.map(of_size).fillna(float(untrained["value"].mean()))
    error = untrained["standard_error"].median()
    return own.to_numpy(float), 0.0 if pd.isna(error) else float(error)
