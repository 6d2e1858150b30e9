from pathlib import Path

import pytest

from plm_scaling.dedup.database import read_chunks, read_clusters, read_index, read_sequences
from plm_scaling.errors import DedupError


def write(path: Path, entries: dict[int, bytes]) -> Path:
    offset, lines, data = 0, [], b""
    for key, entry in entries.items():
        stored = entry + b"\0"
        lines.append(f"{key}\t{offset}\t{len(stored)}\n")
        data, offset = data + stored, offset + len(stored)
    path.write_bytes(data)
    path.with_name(f"{path.name}.index").write_text("".join(sorted(lines)))
    return path


def test_index_entries_come_in_data_order(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {9: b"MKV\n", 2: b"A\n", 5: b"\n"})
    keys, lengths = read_index(path)
    assert keys.tolist() == [9, 2, 5]
    assert lengths.tolist() == [5, 3, 2]


@pytest.mark.parametrize("chunk_bytes", [1, 3, 8, 1 << 20])
def test_chunks_of_any_size_hold_whole_entries(tmp_path: Path, chunk_bytes: int) -> None:
    path = write(tmp_path / "db", {i: b"MKV" * i + b"\n" for i in range(1, 9)})
    chunks = list(read_chunks(path, chunk_bytes))
    assert all(chunk.endswith(b"\n\0") for chunk in chunks)
    assert b"".join(chunks) == path.read_bytes()
    assert [s for part in read_sequences(path) for s in part] == [b"MKV" * i for i in range(1, 9)]


def test_clusters_parts_of_several_threads_are_joined(tmp_path: Path) -> None:
    (tmp_path / "clu.0").write_bytes(b"3\n1\n\0007\n\0")
    (tmp_path / "clu.1").write_bytes(b"4\n12\n5\n\0")
    members, representatives = read_clusters(tmp_path / "clu")
    assert members.tolist() == [3, 1, 7, 4, 12, 5]
    assert representatives.tolist() == [3, 3, 7, 4, 4, 4]


def test_index_damaged_data_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {1: b"MKV\n", 2: b"AC\n"})
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DedupError, match="db is damaged"):
        read_index(path)
    with pytest.raises(DedupError, match="ends within an entry"):
        list(read_chunks(path))


def test_index_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DedupError, match="gone has no index"):
        read_index(tmp_path / "gone")
