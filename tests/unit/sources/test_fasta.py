import gzip
import io
import lzma
import os
import re
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read import fasta
from plm_scaling.sources.read.fasta import RESIDUES as KNOWN
from plm_scaling.sources.read.fasta import read_fasta

RESIDUES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
names = st.text("abcXYZ019_.:-", min_size=1, max_size=8)
descriptions = st.text("abc >|=*- ", max_size=12)
sequences = st.text(RESIDUES + RESIDUES.lower(), min_size=1, max_size=70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fasta")


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
def test_parser_any_text_agrees_with_biopython(folder: Path, chunk_bytes: int, text: str) -> None:
    path = folder / "a.fasta"
    path.write_bytes(text.encode())
    records = list(read_fasta(path, chunk_bytes=chunk_bytes))
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
        for piece in read_fasta(path, chunk_bytes=16)
        for pair in zip(piece.ids, piece.sequences, strict=True)
    ]


def test_parser_uniprot_headers_give_accessions(tmp_path: Path) -> None:
    text = b">sp|P1|A_B name\nMK\n>tr|Q2|C_D\nMK\n>UniRef50_X n=1\nMK\n>gi|3|y z\nMK\n"
    assert [name for name, _ in parse(tmp_path, text)] == [b"P1", b"Q2", b"UniRef50_X", b"gi|3|y"]


def test_parser_star_at_the_end_is_removed(tmp_path: Path) -> None:
    assert parse(tmp_path, b">a\nMK\nAC*\n>b\nMK\n*\n") == [(b"a", b"MKAC"), (b"b", b"MK")]


GOOD = b">first x\nMKV\nAC\n>second\nMK\n"


@pytest.mark.parametrize(
    ("bad", "line", "name", "residues", "reason"),
    [
        (b">third\n", 6, b"third", 0, "no_sequence"),
        (b">third\n\n", 6, b"third", 0, "no_sequence"),
        (b">third\r\n", 6, b"third", 0, "no_sequence"),
        (b">third\n*\n", 6, b"third", 1, "no_sequence"),
        (b">third y\nMK\nA-C\n", 6, b"third", 5, "illegal_character"),
        (b">third\nM>K\n", 6, b"third", 3, "illegal_character"),
        (b">third\nM>K\nAC\n", 6, b"third", 5, "illegal_character"),
        (b">third\n >K\n", 6, b"third", 2, "illegal_character"),
        (b">third\nM1K\n", 6, b"third", 3, "illegal_character"),
        (b">third\nM\0K\n", 6, b"third", 3, "illegal_character"),
        (b">third\nM\xc3\x84K\n", 6, b"third", 4, "illegal_character"),
        (b">third\nMK*\nAC\n", 6, b"third", 5, "star_inside"),
        (b">third\nMK**\n", 6, b"third", 4, "star_inside"),
        (b"> \nMK\n", 6, b"", 2, "no_name"),
        (b">\1third\nMK\n", 6, b"", 2, "no_name"),
        (b">\nMK\n", 6, b"", 2, "no_name"),
        (b">\n", 6, b"", 0, "no_name"),
        (b">\xff\xfe\nMK\n", 6, b"\xff\xfe", 2, "illegal_name"),
        (b">a\0b\nMK\n", 6, b"a\0b", 2, "illegal_name"),
    ],
)
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("chunk_bytes", [3, 1 << 20])
def test_parser_bad_record_is_set_aside(
    tmp_path: Path,
    bad: bytes,
    line: int,
    name: bytes,
    residues: int,
    reason: str,
    at_end: bool,
    chunk_bytes: int,
) -> None:
    path = tmp_path / "a.fasta"
    path.write_bytes(GOOD + (bad.removesuffix(b"\n") if at_end else bad + b">last\nac\n"))
    records = list(read_fasta(path, chunk_bytes=chunk_bytes))
    assert [one[:5] for piece in records for one in piece.rejected] == [
        (3, line, name, residues, reason)
    ]
    ids = [one for piece in records for one in piece.ids]
    sequences = [one for piece in records for one in piece.sequences]
    assert ids == [b"first", b"second", b"last"][: 2 if at_end else 3]
    assert sequences == [b"MKVAC", b"MK", b"AC"][: 2 if at_end else 3]
    assert sum(piece.count for piece in records) == (3 if at_end else 4)


def test_parser_name_in_any_script_is_kept(tmp_path: Path) -> None:
    name = "Протеин_é".encode()
    assert parse(tmp_path, b">a\nMK\n>" + name + b" x\nAC\n") == [(b"a", b"MK"), (name, b"AC")]


def test_parser_counts_repaired_records_also_among_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    path.write_bytes(b">a\r\nmk*\r\n>b\n>c\nAC\n>d\r\nm-k\r\n")
    records, last = read_fasta(path)
    assert (records.ids, records.sequences) == ([b"a", b"c"], [b"MK", b"AC"])
    repaired = {"trailing_star": (1, 2), "lower_case": (1, 2), "windows_line_ends": (1, 2)}
    assert records.handled == repaired
    assert [(one.record, one.line) for one in records.rejected] == [(2, 3)]
    assert [(one.record, one.line) for one in last.rejected] == [(4, 6)]


@settings(max_examples=300)
@given(
    text=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.one_of(
                st.sampled_from(
                    [
                        b">",
                        b">a",
                        b"\n",
                        b"\r\n",
                        b"\r",
                        b"*",
                        b" ",
                        b"\0",
                        b"MK",
                        b"mk",
                        b"\n>b c\n",
                    ]
                ),
                st.binary(max_size=3),
            ),
            max_size=40,
        ).map(b"".join),
    ),
    first=st.sampled_from([b"", b">x\n", b">x\nMK\n", b"\n\n>x\nMK"]),
    chunk_bytes=st.sampled_from([1, 3, 16, 1 << 20]),
)
def test_parser_any_bytes_every_record_is_accounted_for(
    folder: Path, text: bytes, first: bytes, chunk_bytes: int
) -> None:
    content = first + text
    path = folder / "a.fasta"
    path.write_bytes(content)
    lines = re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf"))
    begun = sum(line.startswith(b">") for line in lines)
    try:
        records = list(read_fasta(path, chunk_bytes=chunk_bytes))
    except SourceError as error:
        sound = re.match(rb"(\xef\xbb\xbf)?(\s*[\r\n])?>(?!\0)", content)
        if sound:
            pytest.fail(str(error))
        return
    assert sum(piece.count for piece in records) == begun
    assert all(piece.count for piece in records)
    numbers = [one.record for piece in records for one in piece.rejected]
    assert numbers == sorted(set(numbers))
    for piece in records:
        assert len(piece.ids) == len(piece.sequences)
        assert all(name and name.decode().isprintable() and b" " not in name for name in piece.ids)
        assert all(s and not s.translate(None, KNOWN) for s in piece.sequences)
        for one in piece.rejected:
            assert lines[one.line - 1].startswith(b">")
            assert one.id in lines[one.line - 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"\n\n", ["record"]),
        (b"MKV\n>a\nMK\n", ["line 1", "not FASTA"]),
        (b"\n\nMKV\n>a\nMK\n", ["line 3", "not FASTA"]),
        (b"<!DOCTYPE html>\n<p>404</p>\n", ["line 1", "not FASTA", "<!DOCTYPE"]),
        (b"\0\1\2\n>a\nMK\n", ["line 1", "not FASTA"]),
        (b">P1;X\nname\nMKV*\n", ["line 1", "not FASTA, it looks like PIR: write it as FASTA"]),
        (b"#top\n\n>F1;X\nname\nMKV*\n", ["line 3", "it looks like PIR"]),
        (b"@r1\nACGT\n+\nIIII\n", ["line 1", "it looks like FASTQ: sequencing reads; give a"]),
    ],
)
def test_parser_file_that_is_no_fasta_is_an_error(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    with pytest.raises(SourceError) as raised:
        parse(tmp_path, content)
    for word in ["a.fasta", *words]:
        assert word in str(raised.value)


@pytest.mark.parametrize("cut", range(1, 12))
def test_parser_names_pir_wherever_its_text_is_cut(cut: int) -> None:
    text = b"#top\n>P1;X\nname\nMKV*\n"
    with pytest.raises(SourceError, match="it looks like PIR"):
        fasta.skip_top([text[:cut], text[cut:]], Path("a"))


def test_parser_takes_names_that_are_no_codes_of_pir(tmp_path: Path) -> None:
    read = parse(tmp_path, b">A1;X\nMKV\n>P1;X\nMKVL\n")
    assert read == [(b"A1;X", b"MKV"), (b"P1;X", b"MKVL")]


def test_pipe_that_is_named_is_refused_as_what_it_is(tmp_path: Path) -> None:
    """As the shell's <(…) is: it is there, but cannot be read twice."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=r"pipe is a pipe or a device, .* or - and pipe into"):
        [*fasta.read_fasta(tmp_path / "pipe")]
    with pytest.raises(SourceError, match="none does not exist"):
        [*fasta.read_fasta(tmp_path / "none")]


def test_parser_record_that_does_not_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fasta, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(SourceError, match=r"'>chromosome' has more than 1000 bytes"):
        parse(tmp_path, b">a\nMK\n>chromosome 1\n" + b"ACGT\n" * 1000)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-be", "utf-32-le"])
def test_parser_wide_text_is_named(tmp_path: Path, codec: str) -> None:
    with pytest.raises(SourceError, match=r"a\.fasta is UTF-16 or UTF-32 text; convert it"):
        parse(tmp_path, ">a name\nMKV\n".encode(codec))


def test_parser_names_as_files_of_other_programs_have_them(tmp_path: Path) -> None:
    text = b">a\1b\nMK\n> b x\nMK\n>\tsp|P1|C\nMK\n>WP_1 x [y]\1WP_2 z\nMK\n"
    assert [name for name, _ in parse(tmp_path, text)] == [b"a", b"b", b"P1", b"WP_1"]
    path = tmp_path / "b.fasta"
    path.write_bytes(b"\xef\xbb\xbf; one\r#\r\n\n" + text)
    records, _ = read_fasta(path)
    assert records.handled == {"blank_before_name": (2, 4), "comment_on_top": (2, 0)}


@pytest.mark.parametrize("content", [b"; one\nMK\n", b"#\n#", b";>a\n", b"#x\nMK\n>a\nMK\n"])
def test_parser_comments_without_a_record_are_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"holds no record|not FASTA"):
        parse(tmp_path, content)


def test_parser_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert parse(tmp_path, b"\xef\xbb\xbf>a\nMK\n") == [(b"a", b"MK")]


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}
LONG = b"".join(b">r%d\n%s\n" % (i, b"MKVACDEFGH" * (i % 50 + 1)) for i in range(2000))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_parser_compression_is_recognised_by_the_first_bytes(tmp_path: Path, suffix: str) -> None:
    plain = parse(tmp_path, LONG)
    assert len(plain) == 2000
    assert parse(tmp_path, COMPRESS[suffix](LONG)) == plain
    assert parse(tmp_path, COMPRESS[suffix](LONG), f"b.fasta{suffix}") == plain


@pytest.mark.parametrize("suffix", COMPRESS)
def test_parser_two_compressed_pieces_are_read_through(tmp_path: Path, suffix: str) -> None:
    compress = COMPRESS[suffix]
    content = compress(b">a\nMK\n") + compress(b">b\nAC\n")
    assert parse(tmp_path, content, f"a{suffix}") == [(b"a", b"MK"), (b"b", b"AC")]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("lost", [1, 5, 12, 300])
def test_parser_truncated_file_says_so(tmp_path: Path, suffix: str, lost: int) -> None:
    content = COMPRESS[suffix](LONG)
    with pytest.raises(SourceError, match=rf"a\.fasta\{suffix} is truncated"):
        parse(tmp_path, content[:-lost], f"a.fasta{suffix}")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_parser_damaged_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    content = bytearray(COMPRESS[suffix](LONG))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(SourceError, match=r"cannot be read|is truncated"):
        parse(tmp_path, bytes(content), f"a{suffix}")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_parser_file_with_a_compressed_name_must_be_compressed(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(SourceError, match=rf"a\{suffix} is named \{suffix} but is not"):
        parse(tmp_path, GOOD, f"a{suffix}")


def test_parser_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.fasta does not exist"):
        list(read_fasta(tmp_path / "gone.fasta"))


def test_parser_member_of_an_archive_in_an_archive(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for name in ("README", "db/a.fasta.gz"):
            info = tarfile.TarInfo(name)
            content = gzip.compress(GOOD)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = tmp_path / "all.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("a.tar", "b.tar"):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(inner.getvalue())
            tar.addfile(info, io.BytesIO(inner.getvalue()))
    records = read_fasta(path, "b.tar/db/a.fasta.gz")
    assert [name for piece in records for name in piece.ids] == [b"first", b"second"]
    for member in ("c.tar/db/a.fasta.gz", "b.tar/a.fasta.gz"):
        with pytest.raises(SourceError, match=r"all\.tar\.gz has no member .*a\.fasta\.gz"):
            list(read_fasta(path, member))
