"""sweep.tsv: the cells as a table."""

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plm_scaling.common.files import atomic
from plm_scaling.common.progress import short_number
from plm_scaling.config.load import validate_blocks
from plm_scaling.config.schema import SweepInputs
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.cells import plan_cells

logger = logging.getLogger("plm_scaling")

_TEXT = {"objective", "recipe", "size", "corpus", "precision"}
_OPTIONAL = {"mask_ratio", "masking", "init_from", "source_flops", "unique_tokens_limit"}
_JSON = {"mixture", "strata", "unique_tokens_limit"}


def plan_sweep(blocks: str, out: Path) -> None:
    """Write sweep.tsv for the config blocks given as JSON (those of `SweepInputs`)."""
    config = validate_blocks(SweepInputs, json.loads(blocks), "--blocks")
    cells = plan_cells(config).values()
    write_sweep(cells, out)
    logger.info(
        "[sweep] %d cells, %s FLOPs (`plan` shows them)",
        len(cells),
        short_number(sum(cell.flops for cell in cells)),
    )


def write_sweep(cells: Iterable[Cell], out: Path) -> None:
    """One row per cell; missing values are empty, lists and mappings are JSON."""
    rows = [{"cell": cell.cell, **asdict(cell)} for cell in cells]
    with atomic(out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            as_json = {name: json.dumps(row[name]) for name in _JSON if row[name] is not None}
            writer.writerow(row | as_json)


def read_sweep(path: Path) -> list[Cell]:
    """Inverse of `write_sweep`."""
    with path.open(newline="") as file:
        return [_parse(row) for row in csv.DictReader(file, delimiter="\t")]


def _parse(row: dict[str, str]) -> Cell:
    values: dict[str, Any] = {}
    for name, text in row.items():
        if name == "cell":
            continue
        if name in _TEXT:
            values[name] = text
        elif name in _OPTIONAL and text == "":
            values[name] = None
        else:
            values[name] = text if name in ("init_from", "masking") else json.loads(text)
    return Cell(**values)
