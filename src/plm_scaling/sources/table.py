"""The source table: one row per sequence set, with where it comes from and how to verify it."""

import csv
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.errors import SourceError

COLUMNS = ["name", "version", "url", "mirror", "sha256", "bytes", "licence", "role"]


@dataclass(frozen=True)
class Source:
    """One row of the table. `sha256` and `bytes` are None where the provider states none."""

    name: str
    version: str
    url: str
    mirror: str
    sha256: str | None
    bytes: int | None
    licence: str
    role: str


def read_sources(table: Path) -> dict[str, Source]:
    """Read the tab-separated source table; rows by name.

    Raises `SourceError` when columns are missing, a name is used twice or a number is no number.
    """
    table = Path(table)
    if not table.is_file():
        raise SourceError(f"source table {table} does not exist; give its path with --table")
    with table.open(newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    if header != COLUMNS:
        raise SourceError(f"{table}: columns are {header}; expected {COLUMNS}")
    sources: dict[str, Source] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{table}, line {line}"
        if len(row) != len(COLUMNS):
            raise SourceError(f"{where}: {len(row)} fields, expected {len(COLUMNS)}, tab separated")
        name, version, url, mirror, sha256, size, licence, role = row
        if name in sources:
            raise SourceError(f"{where}: source {name!r} is listed twice; remove one")
        if size and not size.isdigit():
            raise SourceError(f"{where}: bytes is {size!r}; give a number or nothing")
        checksum, n_bytes = sha256.lower() or None, int(size) if size else None
        sources[name] = Source(name, version, url, mirror, checksum, n_bytes, licence, role)
    return sources


def find_source(table: Path, name: str) -> Source:
    """The row called `name`; raises `SourceError` listing the names there are."""
    sources = read_sources(table)
    if name not in sources:
        known = ", ".join(sources)
        raise SourceError(f"{table} has no source {name!r}; it has {known}")
    return sources[name]
