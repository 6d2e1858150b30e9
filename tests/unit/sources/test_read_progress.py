"""How much of the files has been read, and what that leaves, whatever their format."""

import gzip
import lzma
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from archives import write_tar
from backports import zstd
from column_tables import write_columns

from plm_scaling.common.progress import logger
from plm_scaling.preflight.command import check_files
from plm_scaling.sources.read.columns import read_columns
from plm_scaling.sources.read.documents import read_documents
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.streams import counting, progress_of

RNG = random.Random(1)
SEQUENCES = ["M" + "".join(RNG.choices("ACDEFGHIKLMNPQRSTVWY", k=300)) for _ in range(4000)]
TEXT = "".join(f">p{n}\n{one}\n" for n, one in enumerate(SEQUENCES)).encode()
TABLE = pa.table({"id": [f"p{n}" for n in range(len(SEQUENCES))], "sequence": SEQUENCES})
CODE = {f"{name}.py": TEXT[:900_000] for name in "abcd"}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CODE.items():
            archive.writestr(name, content)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "a.fasta": lambda path: written(path, TEXT),
    "a.fasta.gz": lambda path: written(path, gzip.compress(TEXT)),
    "a.fasta.zst": lambda path: written(path, zstd.compress(TEXT)),
    "a.fasta.xz": lambda path: written(path, lzma.compress(TEXT)),
    "a.parquet": lambda path: write_columns(path, TABLE, "parquet", 500),
    "a.arrow": lambda path: write_columns(path, TABLE, "arrow_file", 500),
    "a.arrows": lambda path: write_columns(path, TABLE, "arrow_stream", 500),
    "a.tar.gz": lambda path: write_tar(path, CODE),
    "a.zip": zipped,
}


def read(path: Path) -> Iterator[Records]:
    if path.suffix in (".parquet", ".arrow", ".arrows"):
        return read_columns(path)
    return read_documents(path) if "fasta" not in path.name else read_fasta(path)


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_of_a_file_are_counted_as_they_lie_on_the_disk(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    progress = progress_of("read", [path])
    assert progress.total == path.stat().st_size
    with counting(progress):
        for _ in read(path):
            pass
    # An archive is opened twice, and a table's list of contents is not among its rows.
    within = 0.15 if "fasta" not in name else 0.0
    assert progress.done == pytest.approx(progress.total, rel=within)
    done = progress.done
    for _ in read(path):
        pass
    assert progress.done == done  # nobody counts


def test_a_look_at_files_says_what_is_left_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("plm_scaling.common.progress.EVERY_SECONDS", -1.0)
    monkeypatch.setattr(logger, "handlers", [])
    caplog.set_level("INFO", logger.name)
    nucleotides = written(tmp_path / "n.fasta", b">n\n" + b"ACGT" * 1_000_000)
    files = [WRITERS["a.fasta.gz"](tmp_path / "a.fasta.gz"), nucleotides]
    files.append(WRITERS["a.fasta"](tmp_path / "a.fasta"))
    found = check_files(files, None)
    assert [bool(one.problems) for one in found.files] == [False, True, False]
    shares = [
        int(share[1])
        for line in caplog.messages
        if (share := re.match(r"\[check\] (\d+) % of \S+B, \S+B/s, \S+ left$", line))
    ]
    assert shares == sorted(shares)
    assert shares[-1] == 100  # also of what was passed over
    assert len({*shares}) > 10
