import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from archives import write_tar
from hypothesis import given, settings
from hypothesis import strategies as st
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.common.parts import digests, part_name, part_of
from plm_scaling.pool.write import pool_part
from plm_scaling.sources import part_files
from plm_scaling.sources.clean import clean_source
from plm_scaling.sources.fetch.verified import record_of


def run(
    folder: Path, content: bytes, parts: int = 1, fraction: float = 0.0, name: str = "in.fasta"
) -> Path:
    """Clean a FASTA file with this content."""
    table = write_table(folder / "t.tsv", {"name": "demo"})
    raw = folder / name
    raw.write_bytes(content)
    clean_source(table, "demo", raw, parts, fraction, folder / "out")
    return folder / "out"


def counted(out: Path) -> dict[str, tuple[int, int]]:
    table = pd.read_csv(out / "counts.tsv", sep="\t").set_index("reason")
    assert set(table.stage) == {"clean"}
    assert set(table.source) == {"demo"}
    return {reason: tuple(row) for reason, row in table[["sequences", "residues"]].iterrows()}


def rejected(out: Path) -> list[tuple]:
    return [tuple(row.values())[:7] for row in listed(out / "rejected.parquet")]


def listed(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def only_input_is_left(folder: Path) -> bool:
    """Next to the record of the download."""
    left = {path.name for path in folder.iterdir()}
    return left - {record_of(folder / "in.fasta").name} == {"in.fasta", "t.tsv"}


def test_clean_unusual_records_are_repaired_and_counted(tmp_path: Path) -> None:
    out = run(tmp_path, b">sp|P1|A_B x\r\nmkv\r\nAC\r\n>b\nACD*\n>c\nMK\n")
    assert (out / "part-0000.fasta").read_bytes() == b">P1\nMKVAC\n>b\nACD\n>c\nMK\n"
    assert counted(out) == {
        "in": (3, 10),
        "handled:lower_case": (1, 5),
        "handled:trailing_star": (1, 3),
        "handled:windows_line_ends": (1, 5),
        "kept": (3, 10),
    }
    assert rejected(out) == []
    names = ["counts.tsv", "part-0000.fasta", "rejected.parquet"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_clean_bad_records_are_set_aside_with_the_reason(tmp_path: Path) -> None:
    out = run(tmp_path, b">a\nMK\n>b\n>c\nA-C\n>\nMK\n>d\nGG\n", fraction=0.6)
    assert (out / "part-0000.fasta").read_bytes() == b">a\nMK\n>d\nGG\n"
    assert counted(out) == {
        "in": (5, 9),
        "kept": (2, 4),
        "no_sequence": (1, 0),
        "illegal_character": (1, 3),
        "no_name": (1, 2),
    }
    assert rejected(out) == [
        (2, 3, "b", 0, "no_sequence", "", 0),
        (3, 4, "c", 3, "illegal_character", "-", 1),
        (4, 6, "", 2, "no_name", "", 0),
    ]


def test_clean_too_many_bad_records_name_the_first(tmp_path: Path) -> None:
    content = b">good\nMK\n" + b"".join(b">bad%d\nM%dK\n" % (i, i % 10) for i in range(5))
    with pytest.raises(SourceError) as raised:
        run(tmp_path, content, fraction=0.8)
    refused = tmp_path / "out.rejected.parquet"
    words = "in.fasta", "5 of 6", "0.8", "record 2 in line 3", "'bad0'", "'bad2'", "character '0'"
    for word in (*words, str(refused)):
        assert word in str(raised.value)
    assert "bad3" not in str(raised.value)
    assert [row["id"] for row in listed(refused)] == [f"bad{i}" for i in range(5)]
    with pytest.raises(SourceError, match="none is left"):
        run(tmp_path, content[9:], fraction=1.0)
    assert [row["record"] for row in listed(refused)] == [1, 2, 3, 4, 5]
    run(tmp_path, content, fraction=0.84)
    assert not refused.exists()


def test_clean_repeated_ids_are_kept_and_counted(tmp_path: Path) -> None:
    """Nothing downstream needs unique ids; the pool stores a sequence once."""
    content = b">a\nMK\n>same x\nMK\n>same y\nmk\n>same\nACD\n>same\nMK\n>b\nMK\n"
    out = run(tmp_path, content, parts=4)
    lines = b"".join(path.read_bytes() for path in out.glob("part-*")).split(b"\n")
    assert lines.count(b">same") == 4
    assert counted(out) == {
        "in": (6, 13),
        "kept": (6, 13),
        "handled:lower_case": (1, 2),
        "handled:repeated_record": (2, 0),
        "handled:repeated_id": (1, 0),
    }
    assert sorted(path.name for path in out.iterdir() if "part" not in path.name) == [
        "counts.tsv",
        "rejected.parquet",
    ]
    pool_part([out], ["demo"], 0, 4, "protein", tmp_path / "pool")


def test_clean_several_files_are_one_source(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("in.fasta", "more.fasta")]
    files[0].write_bytes(b"; a comment\n>a\nMK")
    files[1].write_bytes(b"# another\n\n>b\nM-K-\n>c\nAC\n")
    table = write_table(tmp_path / "t.tsv", {"name": "demo"})
    clean_source(table, "demo", files, 1, 0.5, tmp_path / "out")
    assert (tmp_path / "out/part-0000.fasta").read_bytes() == b">a\nMK\n>c\nAC\n"
    expected = (2, 3, "b", 4, "illegal_character", "-", 2, str(files[1]))
    assert [tuple(row.values()) for row in listed(tmp_path / "out/rejected.parquet")] == [expected]
    assert counted(tmp_path / "out")["handled:comment_on_top"] == (2, 0)


@pytest.mark.parametrize("buffer_bytes", [1, 1 << 20])
def test_clean_records_lie_in_the_part_of_their_digest_in_input_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer_bytes: int
) -> None:
    monkeypatch.setattr(part_files, "BUFFER_BYTES", buffer_bytes)
    draw = random.Random(3)
    records = [(b"r%d" % i, "".join(draw.choices("ACDEFGH", k=20)).encode()) for i in range(500)]
    out = run(tmp_path, b"".join(b">%s x\n%s\n" % record for record in records), parts=16)
    numbers = part_of(digests(sequence for _, sequence in records), 16)
    assert len(list(out.glob("part-*.fasta"))) == 16
    for part in range(16):
        expected = [record for record, n in zip(records, numbers, strict=True) if n == part]
        found = (out / f"{part_name(part)}.fasta").read_bytes()
        assert found == b"".join(b">%s\n%s\n" % record for record in expected)


@settings(max_examples=150)
@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(
                [b">", b">a", b">b", b"\n", b"\r\n", b"*", b"MK", b"\n>c d\n", b"\n>a\nAC\n"]
            ),
            st.binary(max_size=3),
        ),
        max_size=40,
    ),
    parts=st.sampled_from([1, 4]),
)
def test_clean_counts_add_up_for_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], parts: int
) -> None:
    content = b">first\nMK\n>" + b"".join(pieces)
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    out = run(folder, content, parts, fraction=1.0)
    begun = sum(line.startswith(b">") for line in re.split(rb"\r\n|\r|\n", content))
    counts = counted(out)
    set_aside = rejected(out)
    assert counts["in"][0] == begun
    assert counts["kept"][0] + len(set_aside) == begun
    lines = [line for path in out.glob("part-*") for line in path.read_bytes().splitlines()]
    assert len(lines) == 2 * counts["kept"][0]
    again = sum(counts.get(f"handled:repeated_{what}", [0])[0] for what in ("record", "id"))
    assert len(set(lines[0::2])) == counts["kept"][0] - again
    assert sum(map(len, lines[1::2])) == counts["kept"][1]
    assert counts["in"][1] == counts["kept"][1] + sum(row[3] for row in set_aside)


@pytest.mark.parametrize("content", [b"", b"<html>\n", b"MK\n>a\nMK\n"])
def test_clean_file_fault_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"in\.fasta"):
        run(tmp_path, content, fraction=1.0)
    assert only_input_is_left(tmp_path)


def test_clean_failure_keeps_the_former_folder(tmp_path: Path) -> None:
    out = run(tmp_path, b">a\nMK\n")
    with pytest.raises(SourceError):
        run(tmp_path, b"")
    assert (out / "part-0000.fasta").read_bytes() == b">a\nMK\n"


def test_clean_missing_raw_file_or_source_is_named(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", {"name": "demo"})
    with pytest.raises(SourceError, match=r"gone\.fasta does not exist; fetch"):
        clean_source(table, "demo", tmp_path / "gone.fasta", 1, 0.0, tmp_path / "out")
    with pytest.raises(SourceError, match="no source 'other'"):
        clean_source(table, "other", tmp_path / "gone.fasta", 1, 0.0, tmp_path / "out")


def test_clean_code_gives_documents_that_the_pool_takes(tmp_path: Path) -> None:
    row = {"name": "demo", "kind": "code", "format": "text_archive", "file": "c.tar.gz"}
    table = write_table(tmp_path / "t.tsv", row)
    files = {"a.py": b"x = 1\n>y\r\n", "b.py": b"", "c d.py": b"z\n", "a.py.txt": b"no"}
    raw = write_tar(tmp_path / "c.tar.gz", files)
    clean_source(table, "demo", raw, 1, 0.4, tmp_path / "out")
    text = (tmp_path / "out" / "part-0000.fasta").read_bytes()
    assert text == b">a.py\nx = 1\r>y\r\n>c%20d.py\nz\r\n"
    assert counted(tmp_path / "out") == {
        "in": (3, 11),
        "kept": (2, 11),
        "handled:windows_line_ends": (1, 9),
        "empty": (1, 0),
    }
    pool_part([tmp_path / "out"], ["demo"], 0, 1, "code", tmp_path / "pool")
    assert pq.read_table(tmp_path / "pool" / "records.parquet").num_rows == 2


def test_clean_colabfold_sources_share_one_file(tmp_path: Path) -> None:
    shared = {"file": "db.tar.gz", "member": "db"}
    table = write_table(
        tmp_path / "t.tsv",
        {"name": "c", "format": "colabfold_representatives", **shared},
        {"name": "m", "format": "colabfold_members", **shared},
    )
    files = {"db.tsv": b"0\tW\n", "db_seq.tsv": b"0\tMK\n1\tMKV\n"}
    raw = write_tar(tmp_path / "db.tar.gz", files)
    for name, expected in (("c", b">db:0\nMK\n"), ("m", b">db:1\nMKV\n")):
        clean_source(table, name, raw, 1, 0.0, tmp_path / name)
        assert (tmp_path / name / "part-0000.fasta").read_bytes() == expected


def test_clean_killed_at_any_point_and_run_again_gives_the_same(tmp_path: Path, root: Path) -> None:
    draw = random.Random(5)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    raw = tmp_path / "in.fasta"
    lines = (f">r{i % 30_000}\n{''.join(draw.choices(letters, k=100))}\n" for i in range(30_100))
    raw.write_text("".join(lines))
    table = write_table(tmp_path / "t.tsv", {"name": "demo"})
    clean_source(table, "demo", raw, 4, 0.1, tmp_path / "expected")
    assert counted(tmp_path / "expected")["handled:repeated_id"] == (100, 0)

    def content(folder: Path) -> dict[str, str]:
        files = sorted(folder.iterdir())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    command = [sys.executable, root / "scripts/clean_source.py", "--table", table]
    command += ["--source", "demo", "--raw", raw, "--parts", "4"]
    command += ["--max-rejected-fraction", "0.1", "--out", tmp_path / "out"]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    start = time.monotonic()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    assert content(tmp_path / "out") == content(tmp_path / "expected")
    for _ in range(3):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert content(tmp_path / "out") == content(tmp_path / "expected")
