"""sweep.tsv: the cells of a sweep as a table."""

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import SweepError
from plm_scaling.common.files import atomic
from plm_scaling.common.progress import many
from plm_scaling.study.cell import Cell

SWEEP, TUNING = "sweep", "tuning"  # what a cell is trained for

_TEXT = {
    *("objective", "recipe", "size", "corpus", "precision", "masking", "init_from"),
    *("initialisation", "positions"),
}
_NEEDED = ("cell", "objective", "size", "n_params", "n_params_total", "tokens", "flops")
_OPTIONAL = {
    *("mask_ratio", "masking", "init_from", "source_flops", "unique_tokens_limit"),
    *("mup_base_width", "mup_base_channels"),
}
_JSON = (
    *("mixture", "strata", "unique_tokens_limit"),
    *("document_mask", "common_evaluation", "start_token"),
)


def write_sweep(cells: Mapping[str, Cell], out: Path, tuning: Collection[str] = ()) -> None:
    """One row per cell, by id; missing values are empty, lists and mappings are JSON. The column
    `part` is TUNING for the ids in `tuning`: it is a fact of the plan, not of the cell."""
    with atomic(out) as temporary, temporary.open("w", newline="") as file:
        names = ["cell", "part", *(field.name for field in fields(Cell))]
        writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for name, cell in cells.items():
            row = {"cell": name, "part": TUNING if name in tuning else SWEEP, **asdict(cell)}
            as_json = {name: json.dumps(row[name]) for name in _JSON if row[name] is not None}
            writer.writerow(row | as_json)


def read_sweep(path: Path) -> dict[str, Cell]:
    """Inverse of `write_sweep`, in the order of the table. Raises `SweepError`.

    A fact of a cell for which the table of an earlier version has no column is None, or what held
    before there was a choice.
    """
    rows, header = _rows(path)
    if missing := [name for name in _NEEDED if name not in header]:
        raise _unusable(path, f"{many(len(missing), 'column')} missing: {', '.join(missing)}")
    if not rows:
        raise _unusable(path, "no cell in it")
    try:
        return {row["cell"]: _parse(row) for row in rows}
    except ValueError as error:
        raise _unusable(path, str(error)) from error


def read_tuning(path: Path) -> set[str]:
    """Ids of the cells of a sweep.tsv that only tune the learning rate. Raises `SweepError`."""
    return {row["cell"] for row in _rows(path)[0] if row.get("part") == TUNING}


def _rows(path: Path) -> tuple[list[dict[str, str]], Sequence[str]]:
    try:
        with path.open(newline="") as file:
            table = csv.DictReader(file, delimiter="\t")
            return list(table), table.fieldnames or ()
    except FileNotFoundError:
        raise _unusable(path, "no such sweep") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unusable(path, f"no table ({error})") from error


def _parse(row: dict[str, str]) -> Cell:
    values: dict[str, Any] = {
        field.name: None if field.default is MISSING else field.default for field in fields(Cell)
    }
    for name in values.keys() & row.keys():
        text = row[name] or ""  # None in a line with too few fields
        try:
            if text or name not in _OPTIONAL:
                values[name] = text if name in _TEXT else json.loads(text)
        except ValueError:
            raise ValueError(f"cell {row['cell']}, column {name}: '{text}' is no value") from None
    return Cell(**values)


def _unusable(path: Path, problem: str) -> SweepError:
    return SweepError(f"{path}: {problem}; write it again with `snakemake plan`")
