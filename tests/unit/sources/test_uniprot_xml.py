import gzip
from pathlib import Path

import pytest
from archives import tar_bytes, write_tar
from Bio.SeqUtils.CheckSum import crc64
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.uniprot_xml import read_uniprot, read_uniref

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
<sequence length="%d" checksum="%b">
%b
</sequence>
</representativeMember>
<member>
<dbReference type="UniProtKB ID" id="X_Y"><property type="length" value="5"/></dbReference>
%b</member>
</entry>
"""
SECOND = b'<sequence length="3" checksum="00">AAA</sequence>\n'  # members of UniRef100 may have one


KB_HEAD = b"""<?xml version="1.0" encoding="UTF-8"?>
<uniprot xmlns="http://uniprot.org/uniprot" xsi:schemaLocation="http://uniprot.org/uniprot a.xsd">
"""
KB_ENTRY = b"""<entry dataset="Swiss-Prot" created="1986-07-21" modified="2024-11-27" version="290">
<accession>%b</accession>
<accession>Q5EEX2</accession>
<name>INS_HUMAN</name>
<comment type="alternative products"><isoform><id>P1-1</id><sequence type="displayed"/></isoform>
<isoform><id>P1-2</id><sequence type="described" ref="VSP_1"/></isoform></comment>
<sequence length="%d" mass="11981" checksum="%b" modified="1986-07-21" version="1">%b</sequence>
</entry>
"""
KB_END = b"""<copyright>
Copyrighted by the UniProt Consortium
</copyright>
</uniprot>
"""


def stated(sequence: bytes) -> tuple[int, bytes]:
    """Length and checksum, by Biopython."""
    plain = b"".join(sequence.split())
    return len(plain), crc64(plain.decode()).removeprefix("CRC-").encode()


def entries(*pairs: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        ENTRY % (name, *stated(sequence), sequence, SECOND if i % 2 else b"")
        for i, (name, sequence) in enumerate(pairs)
    )
    return HEAD + body + b"</UniRef50>\n"


def kb_entries(*pairs: tuple[bytes, bytes]) -> bytes:
    body = b"".join(KB_ENTRY % (name, *stated(sequence), sequence) for name, sequence in pairs)
    return KB_HEAD + body + KB_END


FORMATS = {"uniref": (read_uniref, entries), "uniprot": (read_uniprot, kb_entries)}


def read(path: Path, member: str = "", chunk_bytes: int = 1 << 20, reader=read_uniref):
    records = list(reader(path, member, chunk_bytes))
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


@pytest.mark.parametrize("kind", FORMATS)
@given(
    chunk_bytes=st.integers(1, 400),
    sequences=st.lists(st.text("ACDEFGH\n", min_size=1, max_size=30), min_size=1, max_size=5),
)
def test_any_blocks_give_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, kind: str, chunk_bytes: int, sequences: list[str]
) -> None:
    reader, make = FORMATS[kind]
    path = tmp_path_factory.getbasetemp() / f"blocks_{kind}.xml"
    pairs = [(b"UniRef50_%d" % i, s.encode()) for i, s in enumerate(sequences)]
    path.write_bytes(make(*pairs))
    kept, rejected = read(path, chunk_bytes=chunk_bytes, reader=reader)
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
        + b'<sequence length="2"\nversion="0">AC</sequence></entry>'
        + b'<entryid="none"><sequences>AC</sequences><entry id="six"></entry></UniRef50>'
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
    assert rejected[3].character == ">"


def test_uniref_truncated_or_other_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.xml.gz"
    path.write_bytes(gzip.compress(entries((b"A", b"MK")) * 50)[:-9])
    with pytest.raises(SourceError, match="truncated"):
        read(path)
    path.write_bytes(gzip.compress(b"<html><body>gone</body></html>"))
    with pytest.raises(SourceError, match=r"not UniRef XML, its first element is <html>"):
        read(path)
    path.write_bytes(gzip.compress(b">a\nMKV\n"))
    with pytest.raises(SourceError, match="no XML"):
        read(path)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("chunk_bytes", [1, 50, 1 << 20])
def test_cut_between_entries_is_an_error(tmp_path: Path, kind: str, chunk_bytes: int) -> None:
    reader, make = FORMATS[kind]
    path = tmp_path / "a.xml"
    whole = make((b"A", b"MK"), (b"B", b"MKV")).rstrip()
    cut = whole[: whole.rindex(b"</entry>") + 8]
    path.write_bytes(cut)
    with pytest.raises(SourceError, match=r"a\.xml does not end with the closing tag"):
        read(path, chunk_bytes=chunk_bytes, reader=reader)
    tag = whole[whole.rindex(b"</") : -1]
    for end in (tag + b">", tag + b" >\r\n\r\n"):
        path.write_bytes(cut + end)
        assert len(read(path, chunk_bytes=chunk_bytes, reader=reader)[0]) == 2


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("chunk_bytes", [1, 50, 1 << 20])
@pytest.mark.parametrize("sequence", [b"MKVL", b"MK\nVLAC"])
def test_length_that_differs_is_an_error(
    tmp_path: Path, kind: str, chunk_bytes: int, sequence: bytes
) -> None:
    reader, make = FORMATS[kind]
    path = tmp_path / "a.xml"
    whole = make((b"A", b"MK"), (b"B", sequence))
    found = stated(sequence)[0]
    path.write_bytes(whole.replace(b'length="%d" ' % found, b'length="5" '))
    with pytest.raises(SourceError, match=rf"a\.xml: entry 'B' .* length of 5 and has {found} "):
        read(path, chunk_bytes=chunk_bytes, reader=reader)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_residue_that_differs_is_an_error(tmp_path: Path, kind: str, chunk_bytes: int) -> None:
    reader, make = FORMATS[kind]
    path = tmp_path / "a.xml"
    pairs = [(b"P%d" % i, b"MKV" * 50 + b"C" * i) for i in range(1, 4)]
    path.write_bytes(make(*pairs).replace(b"MKVCC<", b"MRVCC<").replace(b"MKVCC\n<", b"MRVCC\n<"))
    was, now = (stated(b"MKV" * 49 + end)[1].decode() for end in (b"MKVCC", b"MRVCC"))
    with pytest.raises(SourceError, match=rf"a\.xml: entry 'P2' .* CRC64 {was} and has {now}"):
        read(path, chunk_bytes=chunk_bytes, reader=reader)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("checksum", [b"", b' checksum="A"'])
def test_entries_without_checksum_are_counted(tmp_path: Path, kind: str, checksum: bytes) -> None:
    reader, make = FORMATS[kind]
    path = tmp_path / "a.xml"
    length, sum_ = stated(b"MKV")
    path.write_bytes(
        make((b"A", b"MK"), (b"B", b"MKV")).replace(b' checksum="%b"' % sum_, checksum)
    )
    (records,) = reader(path)
    assert records.ids == [b"A", b"B"]
    assert records.handled == {"no_checksum": (1, length)}


def test_the_other_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(kb_entries((b"P01308", b"MK")))
    with pytest.raises(SourceError, match=r"is UniProtKB XML, .* format uniprot_xml"):
        read(path)
    path.write_bytes(entries((b"UniRef50_A", b"MK")))
    with pytest.raises(SourceError, match=r"is UniRef XML, .* format uniref_xml"):
        read(path, reader=read_uniprot)


@pytest.mark.parametrize(
    ("sound", "instead", "match"),
    [
        (b"<entry ", b"<entri ", "an <entry> lacks its end, or an </entry> its beginning"),
        (b"</entry>", b"</entrx>", "at or after entry '.*' an <entry> lacks its end"),
        (b"</name>", b"</name><!-- <entry id='x'> -->", "comments or CDATA"),
        (b"MKV", b"<![CDATA[MKV]]>", "comments or CDATA"),
    ],
    ids=["begin", "end", "comment", "cdata"],
)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_no_entry_is_lost_in_damaged_tags(
    tmp_path: Path, kind: str, chunk_bytes: int, sound: bytes, instead: bytes, match: str
) -> None:
    reader, make = FORMATS[kind]
    path = tmp_path / "a.xml"
    text = make((b"one", b"MKV"), (b"two", b"MKVA"), (b"three", b"AC"))
    place = text.index(b"MKVA") if sound == b"MKV" else text.index(sound, text.index(b"MKV"))
    path.write_bytes(text[:place] + text[place:].replace(sound, instead, 1))
    with pytest.raises(SourceError, match=match):
        read(path, chunk_bytes=chunk_bytes, reader=reader)


def test_uniref_takes_no_member_for_the_representative(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    text = entries((b"one", b"MK"), (b"two", b"MKV"))
    path.write_bytes(
        text.replace(b"\nMKV\n</sequence>", b"\n</sequence>").replace(b'length="3" ', b"")
    )
    kept, rejected = read(path)
    assert kept == [(b"one", b"MK")]
    assert [(one.id, one.reason) for one in rejected] == [(b"two", "no_sequence")]


def test_blanks_around_equal_signs_hide_no_statement(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    entry = b"<entry my-id='x' id = 'a'><sequence length = '3'>MK</sequence></entry>"
    path.write_bytes(b"<UniRef50>" + entry + b"</UniRef50>")
    with pytest.raises(SourceError, match="'a' states a length of 3 and has 2"):
        read(path)
