import gzip
from pathlib import Path

import pytest
from archives import tar_bytes, write_tar
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.uniref_xml import read_uniref

HEAD = b"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<UniRef50 xmlns="http://uniprot.org/uniref" releaseDate="2023-05-03" version="2023_02">
"""
ENTRY = b"""<entry id="%b" updated="2023-02-22">
<name>Cluster: Titin &gt; other</name>
<property type="member count" value="2"/>
<representativeMember>
<dbReference type="UniProtKB ID" id="TITIN_HUMAN">
<property type="UniProtKB accession" value="Q8WZ42"/>
</dbReference>
<sequence length="%d" checksum="5F61A27C1E82B8B3">
%b
</sequence>
</representativeMember>
<member>
<dbReference type="UniProtKB ID" id="X_Y"><property type="length" value="5"/></dbReference>
%b</member>
</entry>
"""
SECOND = b'<sequence length="3" checksum="00">AAA</sequence>\n'  # members of UniRef100 may have one


def entries(*pairs: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        ENTRY % (name, len(sequence.replace(b"\n", b"")), sequence, SECOND if i % 2 else b"")
        for i, (name, sequence) in enumerate(pairs)
    )
    return HEAD + body + b"</UniRef50>\n"


def read(path: Path, member: str = "", chunk_bytes: int = 1 << 20):
    records = list(read_uniref(path, member, chunk_bytes))
    kept = [pair for one in records for pair in zip(one.ids, one.sequences, strict=True)]
    return kept, [one for piece in records for one in piece.rejected]


def test_uniref_archive_of_archives_is_read_by_member(tmp_path: Path) -> None:
    ninety = gzip.compress(entries((b"UniRef90_A", b"MKV")))
    fifty = gzip.compress(entries((b"UniRef50_A", b"MKV\nAC"), (b"UniRef50_B", b"mk")))
    path = write_tar(
        tmp_path / "uniref2023_02.tar.gz",
        {
            "uniref90.tar": tar_bytes({"README": b"x", "uniref90.xml.gz": ninety}),
            "uniref50.tar": tar_bytes({"README": b"x", "uniref50.xml.gz": fifty}),
        },
    )
    kept, rejected = read(path, "uniref50.tar/uniref50.xml.gz")
    assert kept == [(b"UniRef50_A", b"MKVAC"), (b"UniRef50_B", b"MK")]
    assert not rejected
    assert read(path, "uniref90.tar/uniref90.xml.gz")[0] == [(b"UniRef90_A", b"MKV")]


@given(
    chunk_bytes=st.integers(1, 400),
    sequences=st.lists(st.text("ACDEFGH\n", min_size=1, max_size=30), min_size=1, max_size=5),
)
def test_uniref_any_blocks_give_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, chunk_bytes: int, sequences: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.xml"
    pairs = [(b"UniRef50_%d" % i, s.encode()) for i, s in enumerate(sequences)]
    path.write_bytes(entries(*pairs))
    kept, rejected = read(path, chunk_bytes=chunk_bytes)
    expected = [(name, s.replace(b"\n", b"")) for name, s in pairs]
    assert kept == [pair for pair in expected if pair[1]]
    assert [(one.id, one.reason, one.line) for one in rejected] == [
        (name, "no_sequence", None) for name, sequence in expected if not sequence
    ]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 100, 1 << 20])
def test_uniref_every_entry_is_a_record(tmp_path: Path, chunk_bytes: int) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(
        HEAD
        + b'<entry id="one">\n<name>no sequence</name>\n</entry>\n'
        + b'<entry updated="2020"><sequence length="2">MK</sequence></entry>'
        + b'<entry id="three"><sequence>M&gt;K</sequence></entry>'
        + b"<entry id='four'><sequence>M>K</sequence></entry>"
        + b'<entry\tid="five" updated="2020">\n'
        + b'<sequence length="2"\nchecksum="0">AC</sequence></entry>'
        + b'<entryid="none"><sequences>AC</sequences><entry id="six"></UniRef50>'
    )
    kept, rejected = read(path, chunk_bytes=chunk_bytes)
    assert kept == [(b"five", b"AC")]
    assert [(one.record, one.id, one.reason) for one in rejected] == [
        (1, b"one", "no_sequence"),
        (2, b"", "no_name"),
        (3, b"three", "illegal_character"),
        (4, b"four", "illegal_character"),
        (6, b"six", "no_sequence"),
    ]


def test_uniref_truncated_or_other_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.xml.gz"
    path.write_bytes(gzip.compress(entries((b"A", b"MK")) * 50)[:-9])
    with pytest.raises(SourceError, match="truncated"):
        read(path)
    path.write_bytes(gzip.compress(b"<html><body>gone</body></html>"))
    with pytest.raises(SourceError, match="no record"):
        read(path)


@pytest.mark.parametrize("chunk_bytes", [1, 50, 1 << 20])
def test_uniref_cut_between_entries_is_an_error(tmp_path: Path, chunk_bytes: int) -> None:
    path = tmp_path / "a.xml"
    whole = entries((b"A", b"MK"), (b"B", b"MKV"))
    path.write_bytes(whole.removesuffix(b"</UniRef50>\n"))
    with pytest.raises(SourceError, match=r"a\.xml does not end with the closing tag"):
        read(path, chunk_bytes=chunk_bytes)
    for end in (b"</UniRef50>", b"</UniRef50 >\r\n\r\n", b"</UniRef>\n"):
        path.write_bytes(whole.removesuffix(b"</UniRef50>\n") + end)
        assert len(read(path, chunk_bytes=chunk_bytes)[0]) == 2


@pytest.mark.parametrize("chunk_bytes", [1, 50, 1 << 20])
@pytest.mark.parametrize("sequence", [b"MKVL", b"MK\nVLAC"])
def test_uniref_length_that_differs_is_an_error(
    tmp_path: Path, chunk_bytes: int, sequence: bytes
) -> None:
    path = tmp_path / "a.xml"
    entry = b'<entry id="B"><sequence length="5">%b</sequence></entry>' % sequence
    path.write_bytes(entries((b"A", b"MK")).replace(b"</UniRef50>", entry + b"</UniRef50>"))
    found = len(sequence.replace(b"\n", b""))
    with pytest.raises(SourceError, match=rf"a\.xml: entry 'B' .* length of 5 and has {found} "):
        read(path, chunk_bytes=chunk_bytes)
