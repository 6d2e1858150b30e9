"""LF, CRLF, a single CR and CRCRLF end a line, for every reader of sequences."""

from pathlib import Path

import pytest
from archives import write_tar
from Bio import SeqIO
from fasta_tokens import pieces, sequences_of, tokenize
from hypothesis import given, settings
from hypothesis import strategies as st
from source_tables import write_table

from plm_scaling.inference.fasta import read_chunks
from plm_scaling.sources.read.colabfold import read_colabfold
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.formats import read_records
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.uniprot_xml import read_uniref
from plm_scaling.sources.table import find_source
from plm_scaling.tokens.write import fasta as tokens

ENDS = [b"\n", b"\r\n", b"\r", b"\r\r\n"]
CHUNK_BYTES = [1, 2, 3, 5, 16, 1 << 20]
residues = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=20).map(str.encode)


@st.composite
def fasta_files(draw: st.DrawFn) -> bytes:
    """Up to eight records whose lines end in any of `ENDS`, the last perhaps in none."""
    lines = []
    for number in range(draw(st.integers(1, 8))):
        lines.append(b">p%d%b" % (number, draw(st.sampled_from([b"", b" a protein"]))))
        lines += draw(st.lists(residues, min_size=1, max_size=4))
        lines += [b""] * draw(st.integers(0, 1))
    text = b"".join(line + draw(st.sampled_from(ENDS)) for line in lines)
    return text if draw(st.booleans()) else text.rstrip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("line_ends")


def pairs(batches: list[Records]) -> list[tuple[str, str]]:
    assert not [one for batch in batches for one in batch.rejected]
    return [
        (name.decode(), sequence.decode())
        for batch in batches
        for name, sequence in zip(batch.ids, batch.sequences, strict=True)
    ]


def check_all_readers(folder: Path, content: bytes, chunk_bytes: int) -> None:
    """Biopython's records are those of clean, tokenize, score and embed."""
    path = folder / "a.fasta"
    path.write_bytes(content)
    expected = [(record.id, str(record.seq)) for record in SeqIO.parse(path, "fasta")]
    assert pairs(list(read_fasta(path, chunk_bytes=chunk_bytes))) == expected
    row = find_source(write_table(folder / "sources.tsv", {"name": "a"}), "a")
    assert pairs(list(read_records(row, [path]))) == expected
    scored = [
        pair
        for chunk in read_chunks(read_fasta(path), 10)
        for pair in zip(chunk.ids, chunk.entries.decode().split("\n\0")[:-1], strict=True)
    ]
    assert scored == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "BLOCK_BYTES", chunk_bytes)
        manifest = tokenize(folder, path)
    assert sequences_of(manifest) == pieces([sequence for _, sequence in expected])


@pytest.mark.parametrize(
    "content",
    [
        b">a some protein\rMKVAC\nDEF\n>b other\rMK\nAC\n",
        b">a\nMKVAC\n>b\nMK\n>c some\rMKV\rACD\r>d\rAC\r",
        b">a some\rMKV\rACD\r>b\rAC\r",
        b">a some\r\r\nMKV\r\r\nACD\r\r\n>b\r\r\nAC\r\r\n",
    ],
    ids=["after_header", "file_appended", "only", "before_crlf"],
)
def test_carriage_returns_hide_no_residue(tmp_path: Path, content: bytes) -> None:
    for chunk_bytes in CHUNK_BYTES:
        check_all_readers(tmp_path, content, chunk_bytes)


@settings(max_examples=200, deadline=None)
@given(content=fasta_files(), chunk_bytes=st.sampled_from(CHUNK_BYTES))
def test_any_line_ends_agree_with_biopython(folder: Path, content: bytes, chunk_bytes: int) -> None:
    check_all_readers(folder, content, chunk_bytes)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("chunk_bytes", CHUNK_BYTES)
def test_line_ends_of_xml_hide_nothing(tmp_path: Path, end: bytes, chunk_bytes: int) -> None:
    path = tmp_path / "a.xml"
    entry = b'<entry id="a">\n<sequence\nlength="4">MK\nVA\n</sequence>\n</entry>\n'
    path.write_bytes((b"<UniRef50>\n" + entry + b"</UniRef50>\n").replace(b"\n", end))
    assert pairs(list(read_uniref(path, chunk_bytes=chunk_bytes))) == [("a", "MKVA")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("chunk_bytes", CHUNK_BYTES)
def test_line_ends_of_tables_hide_no_key(tmp_path: Path, end: bytes, chunk_bytes: int) -> None:
    clusters = b"".join(b"%d\tX%b" % (key, end) for key in (0, 2))
    sequences = b"".join(b"%d\tMK%b%b" % (key, b"A" * key, end) for key in range(4))
    path = write_tar(tmp_path / "db.tar.gz", {"db.tsv": clusters, "db_seq.tsv": sequences})
    chosen = list(read_colabfold(path, "db", True, chunk_bytes))
    others = list(read_colabfold(path, "db", False, chunk_bytes))
    assert pairs(chosen) == [("db:0", "MK"), ("db:2", "MKAA")]
    assert pairs(others) == [("db:1", "MKA"), ("db:3", "MKAAA")]
