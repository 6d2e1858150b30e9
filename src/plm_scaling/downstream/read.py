"""Tables of benchmarks, in the forms in which they are released, as frames of one form."""

import gzip
import io
import json
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.tables import binary_frame
from plm_scaling.tokens.format.vocabulary import RESIDUES

TRAIN, VALID, TEST = "train", "valid", "test"
SEQUENCE_COLUMNS = ("sequence", "seq", "primary")  # of FLIP, biomap-research, TAPE
SPLIT_COLUMNS = ("split", "set")
_SPLITS = {"val": VALID, "validation": VALID}
# In the names of files, as train-00000-of-00001.parquet or remote_homology_test_fold_holdout.json.
_IN_NAME = re.compile(r"(?<![a-z])(train|valid|val|test)(?:ation)?(?![a-z])(?:_([a-z]+)_holdout)?")
TABLES = (".csv", ".tsv", ".json")
ARCHIVE = ".tar.gz"
_LETTERS = re.compile(f"[{RESIDUES}]+")


def read_tables(
    files: Sequence[Path], split: str, labels: Sequence[str], extra: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of tables (csv, tsv, parquet, arrow, json; gzip; in a zip the member called
    `split`; in a .tar.gz all).

    Columns: where (file and row, for messages), id, split, sequence, label (the first of `labels`
    that the table has) and those of `extra` that it has. The split (train, valid, test, test_NAME)
    is that of the column `split`, of `SPLIT_COLUMNS`, or in the file's name; FLIP's column
    `validation` makes a row of train one of valid. Raises `DownstreamError` for a file that cannot
    be read, a column that is missing and a sequence with what is no residue.
    """
    tables = [
        # Of a zip it is the member.
        _rows(where, table, "" if path.suffix == ".zip" else split, labels, extra)
        for path in files
        for where, table in _read(path, split)
    ]
    if not tables:
        raise DownstreamError(
            f"{', '.join(map(str, files))}: no table in it; its files must be {', '.join(TABLES)}"
        )
    rows = pd.concat(tables, ignore_index=True)
    return rows.assign(id=unique([*rows["id"]]))


def unique(names: Sequence[str]) -> list[str]:
    """The names, of which those that come again get a number."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found


def _read(path: Path, split: str) -> list[tuple[Path, pd.DataFrame]]:
    """The tables of a file, and where each is."""
    try:
        if path.name.endswith(ARCHIVE):
            return [*_members(path)]
        return [(path, _load(path, split))]
    except (
        OSError,
        EOFError,
        tarfile.TarError,
        zlib.error,
        ValueError,
        pa.ArrowException,
        zipfile.BadZipFile,
    ) as error:
        raise DownstreamError(
            f"{path} cannot be read as a table ({error}); get it again"
        ) from error


def _members(path: Path) -> Iterator[tuple[Path, pd.DataFrame]]:
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name)
            file = archive.extractfile(member)
            if file is not None and name.suffix in TABLES and not name.name.startswith("."):
                yield path / name.name, _parse(file, name.suffix)


def _rows(
    path: Path, table: pd.DataFrame, split: str, labels: Sequence[str], extra: Sequence[str]
) -> pd.DataFrame:
    sequence = _column(path, table, SEQUENCE_COLUMNS)
    label = _column(path, table, labels)
    rows = pd.DataFrame(
        {
            "where": [f"{path}, row {i}" for i in range(1, len(table) + 1)],
            "id": table["id"].astype(str)
            if "id" in table
            else [*map(str, range(1, len(table) + 1))],
            "split": _splits(path, table, split),
            "sequence": table[sequence].astype(str).str.upper().str.removesuffix("*"),
            "label": table[label],
        }
    )
    for where, text in zip(rows["where"], rows["sequence"], strict=True):
        if not _LETTERS.fullmatch(text):
            wrong = re.sub(f"[{RESIDUES}]", "", text)[:1]
            fault = f"holds {wrong!r}, which is no residue" if wrong else "is empty"
            raise DownstreamError(f"{where}: the sequence {fault}; correct or remove the row")
    return rows.join(table[[name for name in extra if name in table]])


def _load(path: Path, member: str) -> pd.DataFrame:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return _load_member(archive, member)
    data = path.read_bytes()
    if path.suffix in (".parquet", ".arrow"):
        return binary_frame(data)
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return _parse(io.BytesIO(data), Path(path.name.removesuffix(".gz")).suffix)


def _load_member(archive: zipfile.ZipFile, member: str) -> pd.DataFrame:
    """The table called `member`, or as FLIP has labels of residues: sequences.fasta, MEMBER.fasta
    with the labels and `SET=train VALIDATION=True` in the headers, and mask.fasta, 1 for resolved.
    """
    names = {Path(name).name: name for name in archive.namelist() if not name.endswith("/")}
    for suffix in TABLES:
        if member + suffix in names:
            with archive.open(names[member + suffix]) as file:
                return _parse(file, suffix)
    texts: dict[str, dict[str, tuple[str, str]]] = {}
    for name in ("sequences", member, "mask"):
        if f"{name}.fasta" in names:
            records = archive.read(names[f"{name}.fasta"]).decode().split(">")[1:]
            parts = (record.partition("\n") for record in records)
            heads = (((*head.split(maxsplit=1), ""), body) for head, _, body in parts)
            texts[name] = {head[0]: (head[1], "".join(body.split())) for head, body in heads}
    if "sequences" not in texts or member not in texts:
        raise ValueError(
            f"it has neither a table {member!r} nor sequences.fasta with {member}.fasta"
        )
    rows = [
        {"id": key, "label": label, **dict(one.split("=") for one in facts.lower().split())}
        for key, (facts, label) in texts[member].items()
    ]
    table = pd.DataFrame(rows)
    for column, name in (("sequence", "sequences"), ("resolved", "mask")):
        if name in texts:
            table[column] = [texts[name].get(key, ("", ""))[1] for key in table["id"]]
    return table


def _parse(file: IO[bytes], suffix: str) -> pd.DataFrame:
    if suffix in (".csv", ".tsv"):
        return pd.read_csv(file, sep="\t" if suffix == ".tsv" else ",", dtype={"resolved": str})
    if suffix == ".json":
        return pd.DataFrame(json.load(file))
    known = ", ".join((*TABLES, ".parquet", ".arrow", ".zip"))
    raise ValueError(f"{suffix or 'no suffix'} is none of {known}")


def _column(path: Path, table: pd.DataFrame, names: Sequence[str]) -> str:
    for name in names:
        if name in table:
            return name
    raise DownstreamError(
        f"{path} has no column {' or '.join(names)} but {', '.join(map(str, table))}; rename one"
    )


def _splits(path: Path, table: pd.DataFrame, split: str) -> pd.Series:
    if split and split not in (*SPLIT_COLUMNS, *table):
        raise DownstreamError(
            f"{path} has no column {split}, which says what trains and tests, but "
            f"{', '.join(map(str, table))}; correct `split` in the table of datasets"
        )
    column = next((name for name in (split, *SPLIT_COLUMNS) if name in table), None)
    if column is None:
        found = _IN_NAME.search(path.name)
        if found is None:
            raise DownstreamError(
                f"{path}: neither a column {' or '.join(SPLIT_COLUMNS)} nor the file's name says "
                "which rows train and test; name one of them in the table of datasets"
            )
        kind = _SPLITS.get(found[1], found[1])
        return pd.Series([f"{kind}_{found[2]}" if found[2] else kind] * len(table), table.index)
    values = table[column].astype(str).replace(_SPLITS)
    if "validation" in table:
        values[table["validation"].astype(str).str.lower().eq("true") & values.eq(TRAIN)] = VALID
    return values
