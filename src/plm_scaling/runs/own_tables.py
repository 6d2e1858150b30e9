"""Tables of anybody's runs, as `read_runs` gives ours: CSV, TSV, semicolons, Parquet, stdin.

What a table leaves open is said, never guessed in silence: which column was taken for which, and
numbers that look like millions, billions, bits or perplexities.
"""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.runs.formats import content_of, plain_number, read_cells
from plm_scaling.runs.headers import BITS, COLUMNS, PERPLEXITY, TO_NATS, Taken, match_headers
from plm_scaling.runs.tables import (
    ANY_OBJECTIVE,
    MAY_BE_ZERO,
    NEEDED_WHEN_FINISHED,
    TEXT_COLUMNS,
    bad_cell,
    check_rows,
    numbers,
)

logger = logging.getLogger("plm_scaling")

TEXT = (*TEXT_COLUMNS, "group")
JUMP = 1e3  # from one value to the next; no sweep leaves such a gap
SMALLEST_N, SMALLEST_D = 1e4, 1e6  # of the largest of a table; below, the unit is not one
UNIFORM_GUESS = math.log(33)  # nats/token of the largest vocabulary of proteins in use


def read_table(source: Path | str | pd.DataFrame, maps: Sequence[str] = ()) -> pd.DataFrame:
    """Anybody's runs from a file, standard input ("-") or a DataFrame.

    It needs n_params, loss, and tokens or flops (the other is by 6·N·D), under these or other
    well-known headers, or as `maps` say: "HEADER=n_params", "HEADER*1e6=n_params",
    "log(HEADER)=loss". Comes with the columns of `read_runs`, `group` (from group or run; '' where
    none) and `budget` (FLOPs, NaN where none). Runs that lack a needed number have the reason in
    `excluded`; those without a status are finished, without a name called by their line. `attrs`
    hold `source`, `sha256` and `warnings` (of units). Raises RunsError naming line and column.
    """
    name, content = content_of(source)
    raw = read_cells(name, content)
    taken = match_headers(name, list(raw.columns), maps)
    table = pd.DataFrame(index=raw.index)
    for column in COLUMNS:
        if column not in taken:
            table[column] = "" if column in TEXT else math.nan
        elif column in TEXT:
            table[column] = raw[taken[column].header]
        else:
            table[column] = _converted(name, raw[taken[column].header], taken[column], column)
    said = _fill(table, taken)
    check_rows(name, table)
    warnings = _suspected_units(table, taken)
    said += [f"{c} is {_words(one)}" for c, one in taken.items() if one != Taken(c)]
    if said:
        unused = [f"'{h}'" for h in raw if h not in {one.header for one in taken.values()}]
        rest = f"; not used: {', '.join(unused)}" if unused else ""
        logger.info("[runs] %s: %s%s", name, ", ".join(said), rest)
    for warning in warnings:
        logger.warning("[runs] %s: %s", name, warning)
    table = table.reset_index(drop=True)
    sha256 = hashlib.sha256(content).hexdigest()
    table.attrs = {"source": name, "sha256": sha256, "warnings": warnings}
    return table


def _converted(source: str, cells: "pd.Series[str]", taken: Taken, name: str) -> "pd.Series[float]":
    """The numbers of a column in our unit."""
    values = numbers(source, cells.map(plain_number), taken.header, name in MAY_BE_ZERO)
    if not taken.log:
        return values * taken.factor
    for row in values.index[values <= 1]:
        raise bad_cell(source, row, taken.header, cells[row], "has no positive logarithm")
    return values.map(math.log)


def _fill(table: pd.DataFrame, taken: Mapping[str, Taken]) -> list[str]:
    """Fill what a table may leave open, in place; a phrase for each column that was derived."""
    said = []
    if "tokens" not in taken:
        said.append("tokens are flops/(6·n_params)")
    table["tokens"] = table["tokens"].fillna(table["flops"] / (6 * table["n_params"]))
    table["flops"] = table["flops"].fillna(6 * table["n_params"] * table["tokens"])
    if "group" not in taken and table["run_id"][table["run_id"] != ""].duplicated().any():
        said.append("rows of one run_id are a group")
        table["group"], table["run_id"] = table["run_id"], ""
    lines = pd.Series([f"line {row + 2}" for row in table.index], table.index)
    for name, default in (("run_id", lines), ("objective", ANY_OBJECTIVE), ("status", "finished")):
        table[name] = table[name].mask(table[name] == "", default)
    table["objective"] = table["objective"].str.lower()
    for name in NEEDED_WHEN_FINISHED:
        lacks = (table["excluded"] == "") & (table["status"] == "finished") & table[name].isna()
        table["excluded"] = table["excluded"].mask(lacks, f"{name} is empty")
    return said


def _suspected_units(table: pd.DataFrame, taken: Mapping[str, Taken]) -> list[str]:
    """Sentences on numbers that seem to be in another unit: they are taken as they are."""
    said = []
    loss, header = table["loss"].dropna(), taken["loss"].header
    named = PERPLEXITY.search(header.lower()) or BITS.search(header.lower())
    if taken["loss"] == Taken(header) and len(loss) and (named or loss.min() > UNIFORM_GUESS):
        why = f"the column is called '{header}'"
        if not named:
            why = f"the lowest loss, {loss.min():.3g}, is above ln 33, that of a uniform guess"
        said.append(
            f'{why}: if they are perplexities write --map "log({header})=loss", if bits '
            f'--map "{header}*{TO_NATS}=loss"'
        )
    known = table["flops"] / (6 * table["n_params"] * table["tokens"])
    if "flops" in taken and "tokens" in taken and 0.5 < known.median() < 2:
        return said  # the units of all three agree
    for name, least, unit, factor in (
        ("n_params", SMALLEST_N, "millions", "1e6"),
        ("tokens", SMALLEST_D, "billions", "1e9"),
    ):
        largest = table[name].max()
        if largest < least:
            fix = "give flops in FLOPs, not in another unit"
            if name in taken:
                fix = f'if they are {unit} write --map "{taken[name].header}*{factor}={name}"'
            said.append(f"{name} are at most {largest:.4g}: {fix}")
        values = np.sort(table.loc[table[name] > 0, name])
        below = np.flatnonzero((values[:-1] < least) & (values[1:] > JUMP * values[:-1]))
        if len(below):
            few, more = values[below[0]], values[below[0] + 1]
            said.append(
                f"{name} jump from {few:.4g} to {more:.4g}: give all rows in one unit, if "
                f"{below[0] + 1} of {len(values)} are in {unit}"
            )
    return said


def _words(taken: Taken) -> str:
    header = f"'{taken.header}'"
    times = f"{header} * {taken.factor:g}" if taken.factor != 1 else header
    return f"log({header})" if taken.log else times
