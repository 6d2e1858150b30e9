"""Files of Parquet and Arrow, and which of their columns hold sequences and ids.

Which of the two formats a file has is told by its first bytes. Only the columns that are wanted are
read, some rows at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.streams import AGAIN, CHUNK_BYTES, count_read, refuse_no_file

BATCH_ROWS = 1024
# What the columns are usually called; case does not matter.
_SEQUENCES = """sequence sequences seq seqs protein protein_sequence protein_seq aa aa_sequence
    aa_seq amino_acid_sequence amino_acids"""
_IDS = "id ids identifier name accession entry protein_id sequence_id seq_id uniprot_id header"
USUAL_NAMES = {"sequence": _SEQUENCES.split(), "id": _IDS.split()}
_TEXT = (
    *(pt.is_string, pt.is_large_string, pt.is_string_view),
    *(pt.is_binary, pt.is_large_binary, pt.is_binary_view, pt.is_fixed_size_binary),
)
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_FILE_HEAD_BYTES, _LENGTH_BYTES = 8, 4
_END_OF_STREAM = _ARROW_STREAM + b"\0\0\0\0"


def read_batches(
    path: Path, sequence_column: str, id_column: str
) -> Iterator[tuple[pa.Array, pa.Array | None]]:
    """The columns of sequences and of ids (None if there is none), at most BATCH_ROWS at a time."""
    with _reading(path):
        is_parquet, schema = _opened(path)
        wanted = _column(schema, "sequence", sequence_column, path)
        ids = _column(schema, "id", id_column, path)
    if wanted is None:
        raise _unclear(path, schema, "sequence", "has no column with a usual name")
    if ids and is_list(schema.field(ids).type) and not is_list(schema.field(wanted).type):
        raise _unclear(path, schema, "id", f"has lists in {ids}, but not in {wanted}")
    columns = [wanted] if ids is None else [wanted, ids]
    batches = _parquet(path, columns) if is_parquet else _arrow(path, columns, schema)
    while True:
        with _reading(path):
            if (batch := next(batches, None)) is None:
                return
            found = batch.column(wanted), None if ids is None else batch.column(ids)
        yield found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what Arrow raises of damaged files into `SourceError`."""
    try:
        yield
    except (pa.ArrowException, EOFError, KeyError, OSError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise SourceError(f"{path} is damaged or cut off: {problem}; {AGAIN}") from error


def is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def _opened(path: Path) -> tuple[bool, pa.Schema]:
    """Whether a file is Parquet (or else Arrow), and its columns."""
    refuse_no_file(path)
    with path.open("rb") as file:
        first = file.read(8)
    if first.startswith(_PARQUET):
        return True, pq.read_schema(path)
    if first.startswith(_ARROW_FILE):
        with pa.memory_map(str(path)) as source:
            return False, pa.ipc.open_file(source).schema
    if first.startswith(_ARROW_STREAM):
        with pa.memory_map(str(path)) as source:
            return False, pa.ipc.open_stream(source).schema
    if not first:
        raise SourceError(f"{path} is empty; {AGAIN}")
    raise SourceError(
        f"{path} is neither Parquet nor Arrow, its first bytes are {first!r}; decompress it if it "
        f"is compressed as a whole, correct the source table, or {AGAIN}"
    )


def _parquet(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    # Buffered, or a row group of any size would be read as a whole.
    how = {"buffer_size": CHUNK_BYTES, "pre_buffer": False, "page_checksum_verification": True}
    with pq.ParquetFile(path, **how) as file:
        rows, row_bytes = 0, path.stat().st_size / max(1, file.metadata.num_rows)
        for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            rows += batch.num_rows
            count_read(row_bytes * batch.num_rows)
            yield batch
        if rows != file.metadata.num_rows:
            raise EOFError(f"it states {file.metadata.num_rows} rows and has {rows}")


def _arrow(path: Path, columns: list[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    fields = [schema.get_field_index(column) for column in columns]
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    with pa.memory_map(str(path)) as source:
        expected, end = None, source.size()
        if source.read(len(_ARROW_FILE)) == _ARROW_FILE:
            expected = pa.ipc.open_file(source).num_record_batches
            source.seek(end - len(_ARROW_FILE) - _LENGTH_BYTES)
            end = source.tell() - int.from_bytes(source.read(_LENGTH_BYTES), "little")
        # A file is a stream between a head and a table of contents. By the latter Arrow would copy
        # whole batches; as a stream it reads what is looked at.
        source.seek(0 if expected is None else _FILE_HEAD_BYTES)
        count, place = 0, source.tell()
        for batch in pa.ipc.open_stream(source, options=options):
            count += 1
            count_read(source.tell() - place)
            place = source.tell()
            # Offsets of a damaged file would be followed anywhere. Not slice by slice: with each
            # slice of lists or of a dictionary all that the batch holds would be validated.
            batch.validate(full=True)
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
        if source.tell() != end:
            raise EOFError("more follows its end mark; give files that were joined one by one")
        source.seek(end - len(_END_OF_STREAM))
        if expected not in (None, count) or (expected is None and source.read() != _END_OF_STREAM):
            raise EOFError("the record batches end before their end mark")


def _column(schema: pa.Schema, what: str, given: str, path: Path) -> str | None:
    """The column of sequences or ids; None if no name is given and none is usual."""
    usual = [name for name in schema.names if name.lower() in USUAL_NAMES[what]]
    found = [name for name in schema.names if name == given] if given else usual
    if len(found) > 1:
        raise _unclear(path, schema, what, f"may hold {what}s in {' and '.join(found)}")
    if not found:
        if given:
            raise _unclear(path, schema, what, f"has no column {given!r}")
        return None
    kind = schema.field(found[0]).type
    value = kind.value_type if is_list(kind) else kind
    value = value.value_type if pt.is_dictionary(value) else value
    if not (any(test(value) for test in _TEXT) or (what == "id" and pt.is_integer(value))):
        raise _unclear(path, schema, what, f"holds {kind} in {found[0]}, which is no text")
    return found[0]


def _unclear(path: Path, schema: pa.Schema, what: str, problem: str) -> SourceError:
    return SourceError(
        f"{path} {problem}; name one as {what}_column in the source table: "
        f"{', '.join(schema.names)}"
    )
