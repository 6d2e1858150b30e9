"""The finished runs from which a cell is forecast: alike in all but size, tokens and seed."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from plm_scaling.common.errors import RunsError
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import read_cell

logger = logging.getLogger("plm_scaling")

# What decides the level of the loss besides N and D.
ALIKE = (
    *("objective", "recipe", "corpus", "mixture", "strata", "unique_tokens_limit"),
    *("context_length", "mask_ratio", "masking", "init_from", "start_token"),
)


def finished_like(
    cell: Cell, data_sha256: str, runs: Path, ids: Iterable[str]
) -> Iterator[tuple[str, Cell]]:
    """Those of the cells `ids` under `runs` that finished on the same data and are alike, with
    their facts. Records that cannot be read are left out; `collect` reports of them."""
    for name in ids:
        path = runs / name / "result.json"
        if name == cell.cell or not path.is_file():
            continue
        try:
            record, other = read_cell(path)
        except RunsError as error:
            logger.debug("not used for the forecast: %s", error)
            continue
        same = all(getattr(other, fact) == getattr(cell, fact) for fact in ALIKE)
        if same and record.status == "finished" and record.data_sha256 == data_sha256:
            yield name, other
