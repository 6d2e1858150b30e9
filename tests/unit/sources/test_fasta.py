import gzip
import io
from pathlib import Path

import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.errors import SourceError
from plm_scaling.sources.fasta import read_fasta

RESIDUES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
names = st.text("abcXYZ019_.:-", min_size=1, max_size=8)
descriptions = st.text("abc >|=*- ", max_size=12)
sequences = st.text(RESIDUES + RESIDUES.lower(), min_size=1, max_size=70)


@st.composite
def fasta_texts(draw: st.DrawFn) -> str:
    """FASTA with any wrapping, blank lines, either line end, and maybe no newline at the end."""
    lines = []
    for name, description, sequence in draw(
        st.lists(st.tuples(names, descriptions, sequences), min_size=1, max_size=12)
    ):
        lines.append(f">{name} {description}")
        width = draw(st.integers(1, 80))
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
        lines += [""] * draw(st.integers(0, 2))
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    return text + draw(st.sampled_from(["", "\n"]))


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 64, 1 << 20])
@settings(max_examples=60, deadline=None)
@given(text=fasta_texts())
def test_parser_any_text_agrees_with_biopython(
    tmp_path_factory: pytest.TempPathFactory, chunk_bytes: int, text: str
) -> None:
    path = tmp_path_factory.mktemp("fasta") / "a.fasta"
    path.write_bytes(text.encode())
    records = list(read_fasta(path, chunk_bytes))
    ours = [
        (name.decode(), sequence.decode())
        for piece in records
        for name, sequence in zip(piece.ids, piece.sequences, strict=True)
    ]
    theirs = list(SimpleFastaParser(io.StringIO(text.replace("\r\n", "\n"))))
    assert ours == [(title.split()[0], sequence.upper()) for title, sequence in theirs]
    lower = sum(piece.handled.get("lower_case", (0, 0))[0] for piece in records)
    assert lower == sum(sequence != sequence.upper() for _, sequence in theirs)
    windows = sum(piece.handled.get("windows_line_ends", (0, 0))[0] for piece in records)
    assert windows == (len(theirs) if "\r\n" in text else 0)


def parse(tmp_path: Path, content: bytes, name: str = "a.fasta") -> list[tuple[bytes, bytes]]:
    path = tmp_path / name
    path.write_bytes(content)
    return [
        pair
        for piece in read_fasta(path, 16)
        for pair in zip(piece.ids, piece.sequences, strict=True)
    ]


def test_parser_uniprot_headers_give_accessions(tmp_path: Path) -> None:
    text = b">sp|P1|A_B name\nMK\n>tr|Q2|C_D\nMK\n>UniRef50_X n=1\nMK\n>gi|3|y z\nMK\n"
    assert [name for name, _ in parse(tmp_path, text)] == [b"P1", b"Q2", b"UniRef50_X", b"gi|3|y"]


def test_parser_gzip_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    content = gzip.compress(b">a\nMK\n>b\nAC\n")
    assert parse(tmp_path, content) == [(b"a", b"MK"), (b"b", b"AC")]


def test_parser_two_gzip_members_are_read_through(tmp_path: Path) -> None:
    content = gzip.compress(b">a\nMK\n") + gzip.compress(b">b\nAC\n")
    assert parse(tmp_path, content, "a.fasta.gz") == [(b"a", b"MK"), (b"b", b"AC")]


def test_parser_star_at_the_end_is_removed(tmp_path: Path) -> None:
    assert parse(tmp_path, b">a\nMK\nAC*\n>b\nMK\n*\n") == [(b"a", b"MKAC"), (b"b", b"MK")]


GOOD = b">first x\nMKV\nAC\n>second\nMK\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"\n\n", ["record"]),
        (GOOD + b">third\n>fourth\nMK\n", ["line 6", "third", "no sequence"]),
        (GOOD + b">third\n\n", ["line 6", "third", "no sequence"]),
        (GOOD + b">third", ["line 6", "third", "no sequence"]),
        (GOOD + b">third\n*\n", ["line 6", "third", "no sequence"]),
        (GOOD + b">third y\nMK\nA-C\n", ["line 8", "record 3", "third", "'-'"]),
        (GOOD + b">third\nM>K\n", ["line 7", "third", "'>'"]),
        (GOOD + b">third\nM1K\n", ["line 7", "third", "'1'"]),
        (GOOD + b">third\nMK*\nAC\n", ["line 8", "third", "'*' inside"]),
        (GOOD + b">third\nMK**\n", ["line 7", "third", "'*'"]),
        (GOOD + b"> third\nMK\n", ["line 6", "record 3", "no name"]),
        (b"MKV\n>a\nMK\n", ["line 1", "not FASTA"]),
        (b"<!DOCTYPE html>\n<p>404</p>\n", ["line 1", "not FASTA", "<!DOCTYPE"]),
    ],
)
def test_parser_bad_record_is_named(tmp_path: Path, content: bytes, words: list[str]) -> None:
    with pytest.raises(SourceError) as raised:
        parse(tmp_path, content)
    for word in ["a.fasta", *words]:
        assert word in str(raised.value)


def test_parser_truncated_gzip_says_so(tmp_path: Path) -> None:
    content = gzip.compress(b">a\n" + bytes(range(65, 90)) * 4000 + b"\n")
    with pytest.raises(SourceError, match=r"a\.fasta\.gz is truncated"):
        parse(tmp_path, content[:-12], "a.fasta.gz")


def test_parser_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(GOOD * 100))
    content[-6] ^= 0xFF  # the checksum
    with pytest.raises(SourceError, match="cannot be read"):
        parse(tmp_path, bytes(content), "a.fasta.gz")


def test_parser_named_gz_but_plain_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.fasta\.gz is named \.gz but is not gzip"):
        parse(tmp_path, GOOD, "a.fasta.gz")


def test_parser_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.fasta does not exist"):
        list(read_fasta(tmp_path / "gone.fasta"))
