from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from plm_scaling.common.errors import DedupError
from plm_scaling.mmseqs.clusters import read_columns
from plm_scaling.pool.database import read_index, read_keys


def write(path: Path, entries: dict[int, bytes]) -> Path:
    offset, lines, data = 0, [], b""
    for key, entry in entries.items():
        stored = entry + b"\0"
        lines.append(f"{key}\t{offset}\t{len(stored)}\n")
        data, offset = data + stored, offset + len(stored)
    path.write_bytes(data)
    path.with_name(f"{path.name}.index").write_text("".join(sorted(lines)))
    return path


def test_index_gives_offsets_and_sizes_by_key(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {2: b"MKV\n", 5: b"A\n", 9: b"\n"})
    offsets, sizes = read_index(path)
    assert offsets.tolist() == [0, 5, 8]
    assert sizes.tolist() == [5, 3, 2]


def test_table_of_several_threads_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "t.0").write_text("3\t1\t0.5\n")
    (tmp_path / "t.1").write_text("")
    (tmp_path / "t.2").write_text("4\t12\t1E-5\n4\t5\t1\n")
    columns = {"query": pa.uint32(), "e_value": pa.float64()}
    rows = list(read_columns(tmp_path / "t", columns, ["query", "target", "e_value"]))
    assert [row for batch in rows for row in batch.to_pylist()] == [
        {"query": 3, "e_value": 0.5},
        {"query": 4, "e_value": 1e-5},
        {"query": 4, "e_value": 1.0},
    ]


def test_keys_are_in_index_order(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {2: b"MKV\n", 9: b"A\n", 4: b"\n"})
    assert np.concatenate(list(read_keys(path))).tolist() == [2, 4, 9]
    with pytest.raises(DedupError, match="gone has no index"):
        list(read_keys(tmp_path / "gone"))


def test_index_damaged_data_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {1: b"MKV\n", 2: b"AC\n"})
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DedupError, match="db is damaged"):
        read_index(path)


def test_index_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DedupError, match="gone has no index"):
        read_index(tmp_path / "gone")
