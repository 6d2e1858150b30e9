"""Tables of anybody's runs, as `read_runs` gives ours: CSV, TSV, semicolons, Parquet, stdin.

What a table leaves open is said, never guessed in silence: which column was taken for which, and
numbers that look like millions, billions, bits or perplexities.
"""

import csv
import gzip
import hashlib
import io
import logging
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.runs.headers import BITS, COLUMNS, PERPLEXITY, TO_NATS, Taken, match_headers
from plm_scaling.runs.tables import (
    ANY_OBJECTIVE,
    MAY_BE_ZERO,
    NEEDED_WHEN_FINISHED,
    NO_RUN,
    NO_TABLE,
    TEXT_COLUMNS,
    bad_cell,
    check_rows,
    numbers,
)

logger = logging.getLogger("plm_scaling")

STDIN = "-"
TEXT = (*TEXT_COLUMNS, "group")
UNKNOWN = ("na", "n/a", "nan", "null", "none", "-")  # as empty
SUFFIXES = {"k": "e3", "m": "e6", "b": "e9", "g": "e9", "t": "e12"}  # 70M, 1.4B
NUMBER = re.compile(r"([\d.]+) ?([kmbgt])", re.IGNORECASE)
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?")
DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)")
DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?")
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
    name, content = _content(source)
    raw = _cells(name, _text(name, content))
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


def _content(source: Path | str | pd.DataFrame) -> tuple[str, bytes]:
    """What to call a table, and its bytes."""
    if isinstance(source, pd.DataFrame):
        return source.attrs.get("source", "DataFrame"), source.to_csv(index=False).encode()
    if str(source) == STDIN:
        return "standard input", sys.stdin.buffer.read()
    path = Path(source)
    if not path.is_file():
        raise RunsError(f"{path}: {NO_TABLE}")
    return str(path), path.read_bytes()


def _text(source: str, content: bytes) -> str:
    try:
        if content.startswith(b"PAR1"):
            return pd.read_parquet(io.BytesIO(content)).to_csv(index=False)
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except (ValueError, OSError, EOFError) as error:  # pyarrow's errors are of these, too
        raise RunsError(
            f"{source}: not a CSV table ({error}); give CSV, TSV (UTF-8) or Parquet"
        ) from error


def _cells(source: str, text: str) -> pd.DataFrame:
    """The cells as text, numbers as Python writes them; the index is the line less 2."""
    head = text.lstrip().partition("\n")[0]
    separator = next((mark for mark in "\t;" if mark in head), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: dict[int, list[str]] = {}
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows[reader.line_num - 2] = [cell.strip() for cell in row]
    except csv.Error as error:
        raise RunsError(f"{source}: not a CSV table (line {reader.line_num}: {error})") from error
    if len(rows) < 2:
        raise RunsError(f"{source}: {NO_RUN if rows else 'the table is empty'}")
    header = rows.pop(min(rows))
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise RunsError(f"{source}: several columns are named '{twice[0]}'; rename or remove one")
    for line, row in rows.items():
        if any(row[len(header) :]):
            raise RunsError(
                f"{source}: not a CSV table (line {line + 2} has {len(row)} cells, the header "
                f"{len(header)})"
            )
    width = len(header)
    padded = [(row + [""] * width)[:width] for row in rows.values()]
    table = pd.DataFrame(padded, index=list(rows), columns=header, dtype=str)
    return _with_points(source, table.loc[:, [name != "" for name in header]])


def _with_points(source: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table with decimal commas written as points; a loss has decimals, so where no number has
    a point the commas are decimal."""
    every = table.to_numpy().ravel()
    commas = [cell for cell in every if DECIMAL_COMMA.fullmatch(cell)]
    points = [cell for cell in every if DECIMAL_POINT.fullmatch(cell)]
    if commas and points:
        raise RunsError(
            f"{source}: is the comma of '{commas[0]}' decimal? '{points[0]}' has a point; write "
            "every number with a decimal point, and thousands without a comma"
        )
    return table.replace({f"^{DECIMAL_COMMA.pattern}$": r"\1.\2"}, regex=True) if commas else table


def _plain(cell: str) -> str:
    """A number as Python reads it: '70M' is 70e6, '9,102,821' 9102821, 'NA' nothing."""
    if cell.lower() in UNKNOWN:
        return ""
    if THOUSANDS.fullmatch(cell):
        return cell.replace(",", "")
    found = NUMBER.fullmatch(cell)
    return found[1] + SUFFIXES[found[2].lower()] if found else cell


def _converted(source: str, cells: "pd.Series[str]", taken: Taken, name: str) -> "pd.Series[float]":
    """The numbers of a column in our unit."""
    values = numbers(source, cells.map(_plain), taken.header, name in MAY_BE_ZERO)
    if not taken.log:
        return values * taken.factor
    for row in values.index[values <= 1]:
        raise bad_cell(source, row, taken.header, cells[row], "has no positive logarithm")
    return values.map(math.log)


def _fill(table: pd.DataFrame, taken: Mapping[str, Taken]) -> list[str]:
    """Fill what a table may leave open, in place; what was concluded from what, in words."""
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
    return said


def _words(taken: Taken) -> str:
    header = f"'{taken.header}'"
    times = f"{header} * {taken.factor:g}" if taken.factor != 1 else header
    return f"log({header})" if taken.log else times
