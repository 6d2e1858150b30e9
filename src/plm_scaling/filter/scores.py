"""Read the score tables of all parts, checked against pool and split."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import FilterError
from plm_scaling.common.parts import part_name
from plm_scaling.filter.membership import Membership, read_membership, read_part
from plm_scaling.filter.score import SCORES
from plm_scaling.pool.read import Pool, PoolPart

AGAIN = "score this part again (scripts/score_part.py)"


@dataclass(frozen=True)
class PartScores:
    """Scores of one part as arrays over all its sequences, NaN and 0 where there is none.

    `scored` says which sequences the filter decides on; `owner` is the place of each one's first
    source in `Pool.sources`; lengths are residues.
    """

    part: PoolPart
    membership: Membership
    scored: np.ndarray
    owner: np.ndarray
    length: np.ndarray
    nll_per_residue: np.ndarray
    unknown_fraction: np.ndarray
    distinct_3mer_ratio: np.ndarray

    def measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `rules.judge` looks at."""
        return self.length, self.unknown_fraction, self.distinct_3mer_ratio


class ScoreParts:
    """The score tables in a folder, part by part."""

    def __init__(self, pool: Pool, split: Path, folder: Path) -> None:
        """Raises `FilterError` naming the parts that are missing."""
        self.pool = pool
        self.split = split
        self.folder = folder
        self.model: str | None = None
        if missing := [part.number for part in pool.parts if not self.path(part).is_file()]:
            raise FilterError(
                f"{folder} has no scores of part {', '.join(map(str, missing))}; {AGAIN}"
            )

    def path(self, part: PoolPart) -> Path:
        """The score table of a part."""
        return self.folder / f"{part_name(part.number)}.parquet"

    def __iter__(self) -> Iterator[PartScores]:
        """Read the parts in order; raises `FilterError` naming a damaged or strange file."""
        return map(self._read, self.pool.parts)

    def _read(self, part: PoolPart) -> PartScores:
        path = self.path(part)
        table = read_part(path, ["key", "length", *SCORES, "model"], AGAIN)
        self._check_model(path, table["model"].cast(pa.string()).unique().to_pylist())
        membership = read_membership(self.split, part)
        keys = table["key"].to_numpy().astype(np.int64) - part.first_key
        has_score = np.zeros(part.n_sequences, bool)
        inside = (keys >= 0) & (keys < part.n_sequences)
        has_score[keys[inside]] = True
        scored = membership.scored()
        if not inside.all() or (np.diff(keys) <= 0).any() or (has_score & ~scored).any():
            raise FilterError(f"{path} does not belong to this pool and split; {AGAIN}")
        if lacking := int((scored & ~has_score).sum()):
            raise FilterError(
                f"{path} lacks {lacking:,} of {int(scored.sum()):,} sequences: it is of another "
                f"split; {AGAIN}"
            )
        columns: dict[str, np.ndarray] = {
            name: np.full(part.n_sequences, np.nan, np.float32) for name in SCORES
        }
        columns["length"] = np.zeros(part.n_sequences, np.int64)
        for name, values in columns.items():
            values[keys] = table[name].to_numpy()
        return PartScores(part, membership, scored, part.owners(), **columns)

    def _check_model(self, path: Path, names: list[str]) -> None:
        self.model = self.model or next(iter(names), None)
        if set(names) - {self.model}:
            raise FilterError(
                f"{path} was scored by {names[0]!r}, parts before it by {self.model!r}; {AGAIN} "
                "with the same model"
            )
