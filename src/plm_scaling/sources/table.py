"""The source table: one row per sequence set, with where it is and how to verify it."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.addresses import check_address, last_part, promised_format, split_location

Kind = Literal["protein", "code"]
PROTEIN: Final = "protein"
CODE: Final = "code"
BETWEEN_PATHS: Final = (
    "\0"  # of a source of several files; no path has it, but a newline may be in one
)
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
HAVE_COLUMNS = ("parquet", "arrow")
NEED_MEMBER = ("colabfold_representatives", "colabfold_members")
HEX_DIGITS = {"md5": 32, "sha256": 64}
# Rows that name the same file describe one download, so these must agree.
OF_THE_FILE = ("release", "url", "path", "mirror", "bytes", "checksum", "checksum_list")


@dataclass(frozen=True)
class Source:
    """One row of the table, a field per column; `bytes` is None, a text empty if none is stated.

    `path` is set for what is on this machine, whichever column named it: absolute, or relative to
    the working directory; of several paths one a line.
    """

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
    path: str
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
    """The rows of the tab-separated source table by name.

    Raises `SourceError` naming line and column for what is missing, listed twice or malformed, and
    for rows that share a file but not its address, size or checksum.
    """
    sources: dict[str, Source] = {}
    line_of: dict[str, int] = {}
    files: dict[str, Source] = {}
    for line, row in _rows(Path(table)):
        where = f"{table}, line {line}"
        source = _parse(row, where, Path(table).parent, files)
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


def own_source(name: str, columns: Mapping[str, Any]) -> Source:
    """A source that a config declares (`data.sources`), by its columns; its path is relative to the
    working directory."""
    where = f"data.sources.{name}"
    _check_columns([*columns], where)
    paths = columns.get("path")
    if not paths:
        raise SourceError(
            f"{where}: path is missing, as in {{path: my.fasta}}; what has a url is a row of a "
            "source table"
        )
    row = {key: str(value) for key, value in columns.items()} | {"name": name}
    if isinstance(paths, list):
        first, *others = [_parse(row | {"path": path}, where) for path in paths]
        if strangers := [other for other in others if other.format != first.format]:
            raise SourceError(
                f"{where}: {first.path} is {first.format} and {strangers[0].path} is "
                f"{strangers[0].format}; make each a source, or give format"
            )
        return replace(first, path=BETWEEN_PATHS.join(one.path for one in (first, *others)))
    return _parse(row, where)


def file_source(name: str, columns: Mapping[str, str], where: str, folder: Path) -> Source:
    """A file that holds no sequence set but a benchmark, by its columns, to be fetched and verified
    as sources are; its format means nothing. A path is relative to `folder`."""
    return _parse({**columns, "name": name}, where, folder)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and columns of each line that is neither blank nor a comment."""
    if not table.is_file():
        raise SourceError(f"source table {table} does not exist; correct data.sources or --table")
    try:
        lines = table.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{table} is not UTF-8 text ({error}); save it as such") from error
    header: list[str] = []
    for line, text in enumerate(lines, start=1):
        if not text.strip() or text.startswith("#"):
            continue
        values = [value.strip() for value in text.rstrip().split("\t")]
        if not header:
            header = values
            _check_columns(header, f"{table}, line {line}")
        elif len(values) > len(header):
            raise SourceError(
                f"{table}, line {line}: {len(values)} fields, but the table has {len(header)} "
                "columns; separate fields by one tab each"
            )
        else:
            yield line, dict(zip(header, values, strict=False))
    if not header:
        raise SourceError(f"{table} is empty; its first line names the columns, name and url")


def _check_columns(given: list[str], where: str) -> None:
    """Raise SourceError for columns that the table does not have, and for one given twice."""
    for column in given:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0)
            raise SourceError(
                f"{where}: unknown column {column!r}"
                + (f", did you mean {near[0]!r}?" if near else "")
                + f" There are {', '.join(COLUMNS)}, separated by tabs"
            )
        if given.count(column) > 1:
            raise SourceError(f"{where}: column {column} is there twice; remove one")


def _parse(
    stated: Mapping[str, str],
    where: str,
    folder: Path = Path(),
    files: Mapping[str, Source] | None = None,
) -> Source:
    """One row as a Source, its path relative to `folder`; raises SourceError naming the column that
    is wrong. `files`: rows before it by file, so that a file that is not stated gets a new name."""
    row = {**dict.fromkeys(COLUMNS, ""), **stated}
    if row["path"] and row["url"]:
        raise SourceError(f"{where}, column path: there is a url too; give one of the two")
    row["url"], row["path"] = split_location(row["url"], row["path"], folder)
    for column in ("url", "mirror", "checksum_list"):
        check_address(row[column], f"{where}, column {column}")
    row["format"] = row["format"] or promised_format(row["path"] or last_part(row["url"]))
    row["kind"] = row["kind"] or FORMATS.get(row["format"], "")
    row["file"] = row["file"] or _file(row, files or {})
    for column, expected in _faults(row):
        raise SourceError(f"{where}, column {column}: {row[column]!r}; {expected}")
    size = int(row["bytes"]) if row["bytes"] else None
    return Source(**{**row, "bytes": size})  # type: ignore[arg-type]


def _file(row: Mapping[str, str], files: Mapping[str, Source]) -> str:
    """The last part of the address as the name in data/raw, with the source's name before it where
    it is no file name, or that of another address."""
    if row["path"]:
        return row["name"]
    file = last_part(row["url"])
    if file in files and files[file].url != row["url"]:
        return f"{row['name']}.{file}"
    return file


def _faults(row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Columns that are wrong, and what is expected there."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", row["name"]):
        yield "name", "give letters, digits and _ . - only"
    if row["mirror"] and not row["url"]:
        yield "url", "there is a mirror, so give the first address too"
    if not (row["url"] or row["path"] or row["file"]):
        yield "url", "give an address, or in the column path a file of this machine"
    if row["path"] and (row["mirror"] or row["checksum_list"]):
        of = "mirror" if row["mirror"] else "checksum_list"
        yield of, "only of a file with an http(s) address; for a path give its checksum"
    try:
        date.fromisoformat(row["released"] or "2000-01-01")
    except ValueError:
        yield "released", "give a date as 2022-12-14, or nothing"
    if row["format"] not in FORMATS:
        yield "format", f"must be one of {', '.join(FORMATS)}"
    elif row["kind"] != FORMATS[row["format"]]:
        yield "kind", f"{row['format']} holds {FORMATS[row['format']]}; give that, or nothing"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", row["file"]):
        yield "file", "give a plain file name (no folder); it lies under data/raw/"
    if row["format"] in NEED_MEMBER and not row["member"]:
        yield "member", f"{row['format']} needs the name of the database in the archive"
    for column in (
        ("member",) if row["format"] in HAVE_COLUMNS else ("sequence_column", "id_column")
    ):
        if row[column]:
            yield column, f"{row['format']} has none; leave it empty"
    if row["bytes"] and not re.fullmatch(r"[0-9]+", row["bytes"]):
        yield "bytes", "give a number or nothing"
    algorithm, _, digits = row["checksum"].partition(":")
    digit = rf"[0-9a-f]{{{HEX_DIGITS.get(algorithm, 1)}}}"
    if row["checksum"] and not (algorithm in HEX_DIGITS and re.fullmatch(digit, digits)):
        yield (
            "checksum",
            "give sha256:… or md5:… with its hexadecimal digits (in lower case), or nothing",
        )


def choose(sources: Mapping[str, Source], name: str, where: Path) -> Source:
    """The source called `name`; raises `SourceError` listing the names there are."""
    if name not in sources:
        raise SourceError(f"{where} has no source {name!r}; it has {', '.join(sources)}")
    return sources[name]


def find_source(table: Path, name: str) -> Source:
    """The row called `name`, or the source that JSON of `{name: columns}` declares, as a config
    does; raises `SourceError` listing the names there are."""
    if name.startswith("{"):
        ((own, columns),) = json.loads(name).items()
        return own_source(own, columns)
    return choose(read_sources(table), name, table)


def find_file(table: Path, file: str) -> Source:
    """The first row whose raw file is `file`; raises `SourceError` listing the files there are."""
    sources = read_sources(table).values()
    for source in sources:
        if source.file == file:
            return source
    known = ", ".join(dict.fromkeys(source.file for source in sources))
    raise SourceError(f"{table} has no source with the file {file!r}; it has {known}")
