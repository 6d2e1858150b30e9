"""`plm-scaling data check`: what it finds in files of every kind, as text, JSON and exit code."""

import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plm_scaling.cli import data as data_cli
from plm_scaling.common.command_line import parse
from plm_scaling.config.data import Thresholds
from plm_scaling.preflight.cost import cost
from plm_scaling.preflight.lengths import LIMIT, Lengths
from plm_scaling.preflight.survey import FileSurvey, Survey, survey
from plm_scaling.preflight.text import WIDTH, survey_text

RULES = Thresholds(
    min_length=30,
    max_length=500,
    max_unknown_fraction=0.05,
    min_distinct_3mer_ratio=0.65,
    perplexity_quantiles=[0.01, 0.99],
    length_bins=[0],
)


def protein(length: int, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices("ACDEFGHIKLMNPQRSTVWY", k=length))


def surveyed(*paths: Path, allowed: float = 0.0) -> Survey:
    return survey(paths, RULES, allowed, 0.01)


def looked_at(path: Path, content: bytes | str, allowed: float = 0.0) -> FileSurvey:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = surveyed(path, allowed=allowed).files
    return found


def test_records_lengths_and_letters_are_counted(tmp_path: Path) -> None:
    text = (
        "".join(f">{n}\n{protein(n, n)}\n" for n in (40, 60, 80, 300))
        + ">u\n"
        + "MKV" * 10
        + "XU\n"
    )
    found = looked_at(tmp_path / "a.faa.gz", gzip.compress(text.encode()))
    assert (found.format, found.compression, found.line_ends) == ("FASTA", "gzip", "")
    assert (found.records, found.usable, found.residues) == (5, 5, 512)
    assert (found.shortest, found.median, found.longest) == (32, 60, 300)
    assert found.histogram == [(25, 50, 2), (50, 100, 2), (100, 200, 0), (200, 400, 1)]
    assert sum(found.letters.values()) == 512
    assert (found.letters["X"], found.letters["U"]) == (1, 1)
    assert not found.problems


@pytest.mark.parametrize("length", [1, 24, 25, LIMIT - 1, LIMIT, 330_000, 5_000_000])
def test_lengths_are_those_of_the_records_however_long(length: int) -> None:
    lengths = Lengths()
    lengths.add(np.array([10, length, length]))
    lengths.add(np.array([], np.int64))
    lengths.add(np.array([60_000_000]))
    assert lengths.quantile(0.5) == length
    bins = lengths.histogram()
    assert sum(n for *_, n in bins) == 4
    assert [n for first, below, n in bins if first <= length < below] == [3 if length < 25 else 2]
    assert bins[-1][0] <= 60_000_000 < bins[-1][1]


def test_warnings_of_the_reader_are_those_of_the_file_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = gzip.compress(f">a\n{protein(40)}\n".encode()) + b"garbage"
    found = looked_at(tmp_path / "a.fa.gz", packed)
    assert found.warnings == ["7 bytes after the end of the gzip data ignored (b'garbage')"]
    assert not caplog.text


def test_each_rule_says_what_it_would_drop(tmp_path: Path) -> None:
    sequences = {
        "kept": protein(100),
        "too_short": protein(29),
        "too_long": protein(501),
        "too_many_unknown": protein(90) + "X" * 10,
        "low_complexity": "MKVLAG" * 30,
    }
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in sequences.items())
    found = looked_at(tmp_path / "a.fasta", text)
    assert found.verdicts == dict.fromkeys(sequences, 1)


def test_repeats_are_told_apart(tmp_path: Path) -> None:
    a, b, c = (protein(50, seed) for seed in range(3))
    records = [("1", a), ("2", b), ("1", a), ("2", c), ("3", a), ("3", a)]
    found = looked_at(tmp_path / "a.fasta", "".join(f">{i}\n{s}\n" for i, s in records))
    assert found.exact_copies == 2  # of 1, and of 3
    assert found.ids_of_another_sequence == 1  # 2
    assert found.sequences_of_another_id == 1  # a is 1's, and 3's
    assert found.repeated_id == "1"
    assert not found.problems


def test_offending_characters_have_counts_and_a_place(tmp_path: Path) -> None:
    text = f">a\n{protein(40)}\n>b x\nMK-V--A\nM-K\n>c\nMK1\n>d\n-MK\n"
    found = looked_at(tmp_path / "a.fasta", text)
    assert found.refused == {"illegal_character": 3}
    gap = found.characters["-"]
    assert (gap.times, gap.records, gap.line, gap.record, gap.id) == (5, 2, 3, 2, "b")
    assert found.characters["1"].times == 1
    (problem,) = found.problems
    assert "3 of 4 records" in problem
    assert "gaps" in problem
    assert not looked_at(tmp_path / "a.fasta", text, allowed=0.9).problems


def test_what_is_fixed_is_said(tmp_path: Path) -> None:
    s = protein(40)
    found = looked_at(tmp_path / "a.fasta", f">a\r\n{s.lower()}*\r\n>b\r\n{s}\r\n")
    assert found.line_ends == "Windows (CRLF)"
    assert found.fixed["lower_case"] == found.fixed["trailing_star"] == 1
    assert found.fixed["windows_line_ends"] == 2


@pytest.mark.parametrize(
    ("end", "name"),
    [("\n", ""), ("\r\n", "Windows (CRLF)"), ("\r", "old Mac (CR)"), ("\r\r\n", "CRCRLF")],
)
def test_line_ends_are_named(tmp_path: Path, end: str, name: str) -> None:
    text = f">a{end}{protein(40)}{end}>b{end}{protein(50)}{end}"
    assert looked_at(tmp_path / "a.fasta", text).line_ends == name


OTHERS = {
    "FASTQ": "@r1 x\nACGTN\n+\nIIIII\n",
    "GenBank": "LOCUS       NM_1  100 bp\n",
    "PIR": ">P1;CCHU\ncytochrome c\nMGDV*\n",
    "EMBL or Swiss-Prot text": "ID   P53_HUMAN   Reviewed\n",
    "Stockholm alignment": "# STOCKHOLM 1.0\na MKV\n",
    "Clustal alignment": "CLUSTAL W (1.8)\n\na  MKV\n",
    "HMMER profile": "HMMER3/f [3.3]\nNAME  x\n",
    "GFF": "##gff-version 3\n",
    "web page": "<!DOCTYPE html><html>503</html>",
    "zip archive": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_no_fasta_is_named(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    content = OTHERS[name]
    raw = content.encode() if isinstance(content, str) else content
    found = looked_at(tmp_path / ("a.gz" if pack is gzip.compress else "a"), pack(raw))
    assert found.format == name
    (problem,) = found.problems
    assert problem.startswith(f"{name}, not FASTA: ")


def test_other_formats_of_sources_are_read(tmp_path: Path) -> None:
    one = protein(40)
    columns = pa.table({"id": ["a", "b"], "sequence": [one, "MK-V"]})
    pq.write_table(columns, tmp_path / "a.parquet")
    length = f'<sequence length="{len(one)}">{one}</sequence>'
    for name, text in (
        (
            "uniprot.xml",
            f"<uniprot>\n<entry dataset='S'><accession>A</accession>{length}</entry></uniprot>\n",
        ),
        ("uniref.xml", f'<UniRef90>\n<entry id="A">{length}</entry></UniRef90>\n'),
    ):
        (tmp_path / name).write_text(f'<?xml version="1.0"?>\n{text}')
    names = "a.parquet", "uniprot.xml", "uniref.xml"
    table, *documents = surveyed(*(tmp_path / name for name in names)).files
    assert [one.format for one in documents] == ["UniProtKB XML", "UniRef XML"]
    assert [one.residues for one in (table, *documents)] == [40, 40, 40]
    assert (table.format, table.characters["-"].line) == ("Parquet", None)


def test_error_page_named_as_compressed_is_named(tmp_path: Path) -> None:
    assert looked_at(tmp_path / "a.fasta.gz", "<html>404</html>").format == "web page"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.fasta", b"", "empty"),
        ("a.fasta", b" \n\n", "blank"),
        ("a.fasta", b"MKV\n>a\nMKV\n", "line 1: not FASTA"),
        ("a.fasta", ">a\nMKV\n".encode("utf-16"), "UTF-16"),
        ("a.fasta", bytes(range(1, 256)) * 9, "not FASTA"),
        ("a.fasta.gz", gzip.compress(b">a\nMKVLA\n" * 999)[:-30], "truncated"),
        ("a.fasta.gz", gzip.compress(gzip.compress(b">a\nMKV\n")), "twice"),
        ("a.fasta", b">a\n>b\n", "no record can be used"),
        ("a.fasta", b">a\nMKV\n", "no sequence passes"),
        ("a.fasta", b">a\n" + b"ACGT" * 999, "nucleotides"),
    ],
)
def test_what_would_stop_the_pipeline_is_a_problem(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    found = looked_at(tmp_path / name, content)
    (problem,) = found.problems
    assert says in problem
    assert str(tmp_path) not in problem  # the path stands above


def test_missing_file_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(f">a\n{protein(50)}\n")
    found = surveyed(tmp_path / "a.fasta", tmp_path / "b.fasta")
    assert [bool(one.problems) for one in found.files] == [False, True]
    assert not found.usable


def test_genes_are_not_read_to_their_end(tmp_path: Path) -> None:
    text = "".join(f">{i}\n{'ACGTTGCA' * 5000}\n" for i in range(100))
    found = looked_at(tmp_path / "a.fasta", text)
    assert not found.whole
    assert found.residues < len(text) / 2
    assert "nucleotides" in found.problems[0]


def test_gattaca_is_only_a_warning(tmp_path: Path) -> None:
    found = looked_at(tmp_path / "a.fasta", f">a\nGATTACA\n>b\n{protein(30)}\n")
    assert not found.problems
    only = looked_at(tmp_path / "a.fasta", ">a\nGATTACA\n")
    assert "may be nucleotides" in only.warnings[0]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, int]:
    """What the command prints, and its exit code."""
    code = 0
    try:
        call, asked = parse(data_cli.app, ["check", *map(str, words)])
        call(*asked.args, **asked.kwargs)
    except SystemExit as end:
        code = int(end.code or 0)
    return capsys.readouterr().out, code


def test_command_says_fine_or_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    (tmp_path / "a.fasta").write_text(f">a\n{protein(400)}\n>b\nMK-V\n")
    text, code = run(capsys, tmp_path / "a.fasta")
    assert code == 1
    assert text.splitlines()[-1].startswith("not usable as it is")
    said = " ".join(text.split())
    assert "'-' 1 time in 1 record, first in record 2 (b), which begins in line 3" in said
    (tmp_path / "a.fasta").write_text(f">a\n{protein(400)}\n")
    text, code = run(capsys, tmp_path, "--config", root / "config/demo.yaml")  # a folder
    assert code == 0
    assert text.splitlines()[-1].startswith("fine")
    assert max(map(len, text.splitlines())) <= WIDTH
    (tmp_path / "b.xml").write_text("<?xml version='1.0'?>\n<UniRef50></UniRef50>")
    assert "UniRef XML (format: uniref_xml)" in run(capsys, tmp_path / "b.xml")[0]
    found, code = run(capsys, tmp_path / "a.fasta", "--json")
    assert json.loads(found)["files"][0]["residues"] == 400


def test_command_reads_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(f">a\n{protein(400)}\n".encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed)))
    text, code = run(capsys, "-")
    assert code == 0
    assert text.splitlines()[0] == "standard input"
    assert "FASTA, gzip" in text


def test_long_names_stay_within_the_line(tmp_path: Path) -> None:
    text = f">{'x' * 300}\nMK-V\n>{'y' * 90}\n{protein(50)}\n>{'y' * 90}\n{protein(50)}\n"
    (tmp_path / "a.fasta").write_text(text)
    said = survey_text(surveyed(tmp_path / "a.fasta"))
    assert max(map(len, said.splitlines()[1:-1])) <= WIDTH


def test_cost_is_that_of_the_measured_sets() -> None:
    """docs/scale.md: 1,181 CPU-seconds for 2 million sequences. There half of them are redundant
    and were not searched; nothing is known of that before a run."""
    measured = cost(2_000_000, 634_000_000, 0.5 / 634, 2)
    assert 1181 < measured.cpu_seconds < 2.5 * 1181
    assert measured.wall_seconds < measured.cpu_seconds
    assert not measured.extrapolated
    assert cost(939_000_000, 194_000_000_000, 4e-5, 64).extrapolated


MEMORY = """
import re, sys
from pathlib import Path
from plm_scaling.preflight.command import check_files
check_files([Path(sys.argv[1])], None)
print(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks, text = [], protein(50_000)
    for records in (20_000, 100_000):
        path = tmp_path / f"{records}.fasta"
        starts = random.Random(1).choices(range(49_600), k=records)
        path.write_text("".join(f">{i}\n{text[k : k + 400]}\n" for i, k in enumerate(starts)))
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 20_000  # kB; the larger file has 33 MB more
