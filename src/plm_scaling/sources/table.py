"""The source table: one row per sequence set, with where it comes from and how to verify it."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from plm_scaling.common.errors import SourceError

Kind = Literal["protein", "code"]
PROTEIN: Final = "protein"
CODE: Final = "code"
FORMATS = {
    "fasta": PROTEIN,
    "uniref_xml": PROTEIN,
    "uniprot_xml": PROTEIN,
    "parquet": PROTEIN,
    "arrow": PROTEIN,
    "colabfold_representatives": PROTEIN,
    "colabfold_members": PROTEIN,
    "text_archive": CODE,
}
NEED_MEMBER = ("colabfold_representatives", "colabfold_members")
HAVE_COLUMNS = ("parquet", "arrow")
COLUMNS_OF_DATA = ("sequence_column", "id_column")  # which the table may lack
SCHEMES = ("file", "http", "https")
HEX_DIGITS = {"md5": 32, "sha256": 64}
# Rows that name the same file describe one download, so these must agree.
OF_THE_FILE = ("release", "url", "mirror", "bytes", "checksum", "checksum_list")


@dataclass(frozen=True)
class Source:
    """One row of the table, a field per column; `bytes` is None, a text empty if none is stated."""

    name: str
    release: str
    released: str
    kind: str
    format: str
    file: str
    member: str
    sequence_column: str
    id_column: str
    url: str
    mirror: str
    bytes: int | None
    checksum: str
    checksum_list: str
    licence: str
    citation: str
    checked: str
    role: str

    @property
    def facts(self) -> str:
        """What makes the file what it is: when this changes, the file must be fetched again."""
        size = "" if self.bytes is None else str(self.bytes)
        return " ".join((self.release, self.url, self.mirror, size, self.checksum))

    @property
    def reading(self) -> str:
        """How the file is read: when this changes, the source must be cleaned again."""
        how = (self.kind, self.format, self.member, self.sequence_column, self.id_column)
        return " ".join(how).rstrip()


COLUMNS = [field.name for field in fields(Source)]


def read_sources(table: Path) -> dict[str, Source]:
    """Read the tab-separated source table; rows by name. Raises `SourceError` naming line and
    column for what is missing, listed twice or malformed, and for rows that share a file but not
    its address, size or checksum."""
    table = Path(table)
    if not table.is_file():
        raise SourceError(f"source table {table} does not exist; give its path with --table")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    header = rows.pop(0) if rows else []
    without = [column for column in COLUMNS if column not in COLUMNS_OF_DATA]
    if header not in (COLUMNS, without):
        wrong = [*(set(header) ^ set(COLUMNS))] or "their order"
        raise SourceError(
            f"{table}, line 1: columns are {header}; expected {COLUMNS} (correct {wrong})"
        )
    sources: dict[str, Source] = {}
    line_of: dict[str, int] = {}
    files: dict[str, Source] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{table}, line {line}"
        if len(row) != len(header):
            raise SourceError(f"{where}: {len(row)} fields, expected {len(header)}, tab separated")
        columns = dict.fromkeys(COLUMNS, "") | dict(zip(header, row, strict=True))
        source = _parse(columns, where)
        if source.name in sources:
            raise SourceError(
                f"{where}, column name: {source.name!r} is listed in line "
                f"{line_of[source.name]} already; remove or rename one"
            )
        sharing = files.setdefault(source.file, source)
        for column in OF_THE_FILE:
            if getattr(sharing, column) != getattr(source, column):
                raise SourceError(
                    f"{where}, column {column}: differs from line {line_of[sharing.name]}, which "
                    f"names the same file {source.file}; make them agree or rename one file"
                )
        sources[source.name], line_of[source.name] = source, line
    return sources


def _parse(row: Mapping[str, str], where: str) -> Source:
    """One row as a Source; raises SourceError naming the column that is wrong."""

    def refuse(column: str, expected: str) -> None:
        raise SourceError(f"{where}, column {column}: {row[column]!r}; {expected}")

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", row["name"]):
        refuse("name", "give letters, digits and _ . - only")
    if row["released"]:
        try:
            date.fromisoformat(row["released"])
        except ValueError:
            refuse("released", "give a date as 2022-12-14, or nothing")
    if row["format"] not in FORMATS:
        refuse("format", f"must be one of {', '.join(FORMATS)}")
    if row["kind"] != FORMATS[row["format"]]:
        refuse("kind", f"{row['format']} holds {FORMATS[row['format']]}; give that")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", row["file"]):
        refuse("file", "give a plain file name (no folder); it lies under data/raw/")
    if row["format"] in NEED_MEMBER and not row["member"]:
        refuse("member", f"{row['format']} needs the name of the database in the archive")
    for column in ("member",) if row["format"] in HAVE_COLUMNS else COLUMNS_OF_DATA:
        if row[column]:
            refuse(column, f"{row['format']} has none; leave it empty")
    for column in ("url", "mirror", "checksum_list"):
        _check_address(row[column], f"{where}, column {column}")
    if row["mirror"] and not row["url"]:
        refuse("url", "there is a mirror, so give the first address too")
    if row["bytes"] and not re.fullmatch(r"[0-9]+", row["bytes"]):
        refuse("bytes", "give a number or nothing")
    if row["checksum"]:
        algorithm, _, digits = row["checksum"].partition(":")
        if not re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS.get(algorithm, 0)}}}", digits) or not digits:
            refuse("checksum", "give sha256:… or md5:… with its hexadecimal digits, or nothing")
    if not row["licence"]:
        refuse("licence", "say under which licence the data are, or that it is not stated")
    size = int(row["bytes"]) if row["bytes"] else None
    return Source(**{**row, "bytes": size})  # type: ignore[arg-type]


def _check_address(address: str, where: str) -> None:
    """Raise SourceError for what is no address, or holds a password, which is then not shown."""
    if not address or address.startswith("file:"):
        return
    authority = re.split(r"[/?#]", address.partition("//")[2] or address)[0]
    if "@" in authority:
        raise SourceError(
            f"{where}: the address holds a user or password, which logs and reports would show; "
            "take it out, and give a token in the environment instead (docs/sources.md)"
        )
    if not re.fullmatch(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", authority):
        raise SourceError(f"{where}: the address has no name of a host after //; correct it")
    if urlsplit(address).scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise SourceError(f"{where}: {address!r}; must begin with one of {schemes}")
    if not re.fullmatch(r"[!-~]+", address):
        raise SourceError(f"{where}: {address!r}; write blanks and the like as %20")


def find_source(table: Path, name: str) -> Source:
    """The row called `name`; raises `SourceError` listing the names there are."""
    sources = read_sources(table)
    if name not in sources:
        known = ", ".join(sources)
        raise SourceError(f"{table} has no source {name!r}; it has {known}")
    return sources[name]


def find_file(table: Path, file: str) -> Source:
    """The first row whose raw file is `file`; raises `SourceError` listing the files there are."""
    sources = read_sources(table).values()
    for source in sources:
        if source.file == file:
            return source
    known = ", ".join(dict.fromkeys(source.file for source in sources))
    raise SourceError(f"{table} has no source with the file {file!r}; it has {known}")
