"""What a file of a table holds, whatever its format: cells of text with decimal points."""

import csv
import gzip
import io
import re
import sys
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.common.tables import ARROW, PARQUET, binary_frame
from plm_scaling.runs.tables import NO_RUN, NO_TABLE

STDIN = "-"
UNKNOWN = ("na", "n/a", "nan", "null", "none", "-")  # as empty
SUFFIXES = {"k": "e3", "m": "e6", "b": "e9", "g": "e9", "t": "e12"}  # 70M, 1.4B
NUMBER = re.compile(r"([\d.]+) ?([kmbgt])", re.IGNORECASE)
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?")
DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)")
DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?")


def content_of(source: Path | str | pd.DataFrame) -> tuple[str, bytes]:
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
        if content.startswith((PARQUET, ARROW)):
            return binary_frame(content).to_csv(index=False)
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except (ValueError, OSError, EOFError) as error:  # pyarrow's errors are of these, too
        raise RunsError(
            f"{source}: not a CSV table ({error}); give CSV, TSV (UTF-8), Parquet or Arrow"
        ) from error


def read_cells(source: str, content: bytes) -> pd.DataFrame:
    """The cells as text, with decimal points; the index is the line less 2."""
    text = _text(source, content)
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


def plain_number(cell: str) -> str:
    """A number as Python reads it: '70M' is 70e6, '9,102,821' 9102821, 'NA' nothing."""
    if cell.lower() in UNKNOWN:
        return ""
    if THOUSANDS.fullmatch(cell):
        return cell.replace(",", "")
    found = NUMBER.fullmatch(cell)
    return found[1] + SUFFIXES[found[2].lower()] if found else cell
