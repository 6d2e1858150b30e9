from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from column_tables import LAYOUTS, write_columns
from hypothesis import given, settings
from hypothesis import strategies as st
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.addresses import files_in
from plm_scaling.sources.clean import clean_source
from plm_scaling.sources.read.column_files import BATCH_ROWS
from plm_scaling.sources.read.columns import read_columns
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import readable
from plm_scaling.sources.read.records import Records

TYPES = {
    str(kind): kind
    for kind in (
        *(pa.string(), pa.large_string(), pa.string_view()),
        *(pa.binary(), pa.large_binary(), pa.binary_view()),
        pa.dictionary(pa.int32(), pa.string()),
    )
}
names = st.text("abc|.:é> \t", max_size=6)
residues = st.text("ACDEFGHIKLMNPQRSTVWYXacd*-.<>+ \t1é", max_size=20)


def as_type(values: list[str | None], kind: pa.DataType) -> pa.Array:
    text = pa.array(values, pa.string())
    return text.dictionary_encode() if pa.types.is_dictionary(kind) else text.cast(kind)


def read(paths: Path | list[Path], **columns: str) -> list[tuple[str, str]]:
    """The records, none of which is rejected."""
    batches = list(read_columns(paths, **columns))
    assert not [one for batch in batches for one in batch.rejected]
    return [
        (name.decode(), sequence.decode())
        for batch in batches
        for name, sequence in zip(batch.ids, batch.sequences, strict=True)
    ]


def together(batches: list[Records]) -> tuple[list[object], ...]:
    """What was read, without what depends on the batches and on lines."""
    handled: dict[str, np.ndarray] = {}
    for batch in batches:
        for what, counts in batch.handled.items():
            handled[what] = handled.get(what, np.zeros(2, int)) + counts
    return (
        [name for batch in batches for name in batch.ids],
        [sequence for batch in batches for sequence in batch.sequences],
        sorted((what, *counts.tolist()) for what, counts in handled.items() if counts.any()),
        [(r.record, r.id, r.residues, r.reason) for batch in batches for r in batch.rejected],
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=40, deadline=None)
@given(
    records=st.lists(st.tuples(names, residues), min_size=1, max_size=8),
    kind=st.sampled_from(list(TYPES.values())),
    rows=st.integers(1, 8),
)
def test_columns_give_the_records_of_the_same_fasta(
    tmp_path_factory: pytest.TempPathFactory,
    layout: str,
    records: list[tuple[str, str]],
    kind: pa.DataType,
    rows: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / f"columns_{layout}"
    fasta = path.with_suffix(".fasta")
    fasta.write_text("".join(f">{name}\n {sequence}\n" for name, sequence in records))
    table = pa.table(
        {
            "Sequence": as_type([sequence for _, sequence in records], kind),
            "length": pa.array(range(len(records))),
            "ID": as_type([name for name, _ in records], kind),
        }
    )
    write_columns(path, table, layout, rows)
    assert together(list(read_columns(path))) == together(list(read_fasta(fasta)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_null_is_rejected_and_nothing_becomes_a_record_of_its_own(
    tmp_path: Path, layout: str
) -> None:
    sequences = ["MK\nV", None, "", "AC", "AC\n>x\nMKV", ">x", "M\r\nK"]
    ids = ["a\nMKV", "b", "c", None, "e", "f", "g\r>h"]
    path = write_columns(
        tmp_path / "a.parquet", pa.table({"id": ids, "sequence": sequences}), layout
    )
    (records,) = read_columns(path)
    assert list(zip(records.ids, records.sequences, strict=True)) == [
        (b"a", b"MKV"),
        (b"g", b"MK"),
    ]
    assert [(one.record, one.line, one.id, one.reason, one.file) for one in records.rejected] == [
        (2, None, b"b", "no_sequence", str(path)),
        (3, None, b"c", "no_sequence", str(path)),
        (4, None, b"", "no_name", str(path)),
        (5, None, b"e", "illegal_character", str(path)),
        (6, None, b"f", "illegal_character", str(path)),
    ]
    assert [one.character for one in records.rejected] == ["", "", "", ">", ">"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("large", [False, True])
def test_each_element_of_a_list_is_a_record(tmp_path: Path, layout: str, large: bool) -> None:
    """As in OMG, whose rows are scaffolds with lists of coding sequences and of their ids."""
    sequences = [["MK", "AC"], None, [], ["MKV"]]
    kind = pa.list_(pa.large_string()) if large else pa.large_list(pa.string())
    table = pa.table(
        {
            "CDS_ids": [["a", "b"], None, [], ["c"]],
            "CDS_seqs": pa.array(sequences, kind),
            "scaffold": [7, 8, 9, 10],
            "short": [["a"], None, [], ["c"]],
        }
    )
    path = write_columns(tmp_path / "omg.arrow", table, layout, rows=3)
    own = ["MK", "AC", "MKV"]
    for id_column, expected in (
        ("CDS_ids", ["a", "b", "c"]),
        ("scaffold", ["7:1", "7:2", "10:1"]),
        ("", ["omg:1:1", "omg:1:2", "omg:4:1"]),
    ):
        found = read(path, sequence_column="CDS_seqs", id_column=id_column)
        assert found == list(zip(expected, own, strict=True))
    with pytest.raises(SourceError, match=r"omg\.arrow: a row has more or fewer ids"):
        read(path, sequence_column="CDS_seqs", id_column="short")


def test_files_and_folders_are_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number, layout in enumerate(LAYOUTS):
        table = pa.table({"seq": ["MK", "AC" * (number + 1), "-"]})
        suffix = "parquet" if layout == "parquet" else "arrow"
        write_columns(folder / f"train-{number}.{suffix}", table, layout)
    (folder / "README.md").write_text("no table")
    (folder / "._train-0.parquet").write_text("no table")
    batches = list(read_columns([*files_in(folder, "parquet", "arrow"), folder / "train-1.arrow"]))
    ids = [name.decode() for batch in batches for name in batch.ids]
    assert ids == [f"train-{n}:{row}" for n in (0, 1, 2, 1) for row in (1, 2)]
    assert [batch.first for batch in batches] == [1, 4, 7, 10]
    rejected = [one for batch in batches for one in batch.rejected]
    assert [(one.record, Path(one.file).name) for one in rejected] == [
        (3, "train-0.parquet"),
        (6, "train-1.arrow"),
        (9, "train-2.arrow"),
        (12, "train-1.arrow"),
    ]
    with (
        pytest.raises(SourceError, match=r"holds no file whose name ends in \.parquet"),
        readable([tmp_path], "parquet"),
    ):
        pass


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        (
            ["id", "text"],
            {},
            r"no column with a usual name; .* sequence_column .*: id, text$",
        ),
        (
            ["seq", "AA_seq"],
            {},
            r"may hold sequences in seq and AA_seq; .* sequence_column",
        ),
        (["seq", "id", "name"], {}, r"may hold ids in id and name; name one as id_column"),
        (["seq"], {"sequence_column": "Seq"}, r"no column 'Seq'; .*: seq$"),
        (["seq"], {"id_column": "acc"}, r"no column 'acc'; name one as id_column"),
        (["seq", "seq"], {"sequence_column": "seq"}, r"may hold sequences in seq and seq"),
        (["seq", "number"], {"sequence_column": "number"}, r"holds int64 in number, .* no text"),
        (["seq", "lists"], {"id_column": "lists"}, r"has lists in lists, but not in seq"),
    ],
    ids=["none", "two", "two_ids", "wrong", "wrong_id", "same", "number", "lists"],
)
def test_column_that_is_not_clear_is_an_error(
    tmp_path: Path, columns: list[str], named: dict[str, str], message: str
) -> None:
    values = {"number": pa.array([1]), "lists": pa.array([["a"]])}
    arrays = [values.get(column, pa.array(["MK"])) for column in columns]
    path = write_columns(tmp_path / "a.arrow", pa.table(arrays, columns), "arrow_stream")
    with pytest.raises(SourceError, match=message) as refused:
        read(path, **named)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_file_cut_anywhere_or_damaged_is_an_error(tmp_path: Path, layout: str) -> None:
    """Or, of damage that no checksum tells, as many records; never a crash."""
    table = pa.table(
        {"id": [f"p{n}" for n in range(40)], "sequence": ["MKV" * n for n in range(40)]}
    )
    path = write_columns(tmp_path / "a", table, layout, rows=10)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError, match=str(path)) as refused:
            read(path)
        assert "\n" not in str(refused.value)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 100).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        count = len(table)
        with suppress(SourceError):
            count = sum(records.count for records in read_columns(path))
        assert count == len(table)


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_what_follows_the_record_batches_is_not_passed_over(tmp_path: Path, layout: str) -> None:
    path = write_columns(tmp_path / "a", pa.table({"sequence": ["MK", "AC"]}), layout, rows=1)
    whole = path.read_bytes()
    end = whole.index(b"\xff\xff\xff\xff\0\0\0\0")
    within = whole.rindex(b"\xff\xff\xff\xff", 0, end)
    for content in (whole + whole, whole[:within] + whole[end : end + 8] + whole[within:]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=f"{path} is damaged or cut off"):
            read(path)


def test_a_record_batch_is_validated_once(tmp_path: Path) -> None:
    """Its last offsets before its first row: row by row, lists took the square of their number."""
    rows = 3 * BATCH_ROWS
    table = pa.table({"sequence": pa.array([["MK"]] * rows), "id": pa.array(range(rows))})
    path = write_columns(tmp_path / "a", table, "arrow_stream")
    last = (rows - 1).to_bytes(4, "little") + rows.to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(last) == 1
    path.write_bytes(content.replace(last, last[:4] + (1 << 30).to_bytes(4, "little")))
    with pytest.raises(SourceError, match="damaged or cut off: In column 0"):
        next(read_columns(path))


@pytest.mark.parametrize("content", [b"", b">a\nMKV\n", b"\x1f\x8b\x08\x00"])
def test_other_files_are_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"is empty|neither Parquet nor Arrow"):
        read(path)
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "gone.parquet")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_does_not_grow_with_the_row_group(tmp_path: Path, layout: str) -> None:
    text = np.random.default_rng(0).choice(list(b"ACDEFGHIKLMNPQRSTVWY"), 1 << 23)
    sequences = text.astype(np.uint8).view("S512").tolist()
    path = write_columns(tmp_path / "a", pa.table({"sequence": sequences}), layout)
    before = pa.total_allocated_bytes()
    del sequences
    largest = count = 0
    for records in read_columns(path):
        largest = max(largest, pa.total_allocated_bytes() - before)
        count += records.count
    assert count == 1 << 14
    assert largest < 5 << 20


def test_clean_reads_a_parquet_source_by_its_columns(tmp_path: Path) -> None:
    table = pa.table({"protein_id": ["a", "b"], "x": ["mkv", "AC*"], "y": ["", ""]})
    raw = write_columns(tmp_path / "a.parquet", table, "parquet")
    row = {"name": "hub", "file": "a.parquet", "format": "parquet", "sequence_column": "x"}
    sources = write_table(tmp_path / "t.tsv", row)
    clean_source(sources, "hub", raw, 1, 0.0, tmp_path / "out")
    assert (tmp_path / "out/part-0000.fasta").read_text() == ">a\nMKV\n>b\nAC\n"
