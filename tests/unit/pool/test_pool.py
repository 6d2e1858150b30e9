"""The pool: content order, copies, parts, views."""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool, sequences_in

from plm_scaling.common.errors import DedupError, PlmScalingError
from plm_scaling.common.parts import digests, part_of
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool, write_view
from plm_scaling.pool.write import pool_part

SEQUENCES = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=12)
SOURCES = {
    "b": [("b1", "MKV"), ("b2", "MKVLL"), ("b3", "MKV")],
    "a": [("a2", "MKV"), ("a1", "MKV"), ("a3", "GGG")],
}


def rows_of(pool: Pool) -> list[tuple[str, str, str]]:
    """Sequence, source and id of every record, in the pool's order."""
    found = []
    for part in pool.parts:
        sequences = sequences_in(part.database)
        for table in part.records(["key", "source", "id", "length"]):
            for row in table.to_pylist():
                sequence = sequences[row["key"]]
                assert row["length"] == len(sequence)
                found.append((sequence, row["source"], row["id"]))
    return found


def test_pool_keeps_every_record_and_each_sequence_once(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, SOURCES)
    assert sorted(rows_of(pool)) == sorted(
        (sequence, source, name)
        for source, records in SOURCES.items()
        for name, sequence in records
    )
    assert pool.n_sequences == 3
    assert pool.n_residues == len("MKV") + len("MKVLL") + len("GGG")
    assert pool.sources == ["b", "a"]


def test_owner_is_the_first_source_and_copies_follow_by_source_and_id(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, SOURCES)
    copies = [(source, name) for sequence, source, name in rows_of(pool) if sequence == "MKV"]
    assert copies == [("b", "b1"), ("b", "b3"), ("a", "a1"), ("a", "a2")]
    owners = {}
    for part in pool.parts:
        sequences = sequences_in(part.database)
        owners |= dict(zip(sequences, part.owners().tolist(), strict=True))
    assert owners == {"MKV": 0, "MKVLL": 0, "GGG": 1}


@settings(max_examples=25, deadline=None)
@given(
    records=st.lists(st.tuples(st.sampled_from("xy"), SEQUENCES), min_size=1, max_size=40),
    parts=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 99),
)
def test_pool_does_not_depend_on_input_order_or_parts(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, str]],
    parts: int,
    seed: int,
) -> None:
    named = [(source, f"{source}{i}", sequence) for i, (source, sequence) in enumerate(records)]
    shuffled = np.random.default_rng(seed).permutation(len(named))

    def pooled(order: list[int], parts: int) -> list[tuple[str, str, str]]:
        sources: dict[str, list[tuple[str, str]]] = {"x": [], "y": []}
        for source, name, sequence in (named[i] for i in order):
            sources[source].append((name, sequence))
        return rows_of(make_pool(tmp_path_factory.mktemp("pool"), sources, parts))

    expected = pooled(list(range(len(named))), 1)
    assert pooled(shuffled.tolist(), parts) == expected
    values = digests(sequence.encode() for sequence, _, _ in expected).tolist()
    assert values == sorted(values)


def test_database_is_what_mmseqs_itself_would_write(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, SOURCES, parts=1)
    part = pool.parts[0]
    sequences = sequences_in(part.database)
    fasta = tmp_path / "in.fasta"
    fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
    find_mmseqs("auto").run("createdb", fasta, tmp_path / "db", "--shuffle", 0, "--dbtype", 1)
    for ending in ("", ".index", ".dbtype"):
        ours = part.database.with_name(f"sequences{ending}").read_bytes()
        assert ours == (tmp_path / f"db{ending}").read_bytes()


def test_view_lists_the_chosen_sequences_for_mmseqs(tmp_path: Path) -> None:
    sources = {"a": [(f"a{i}", "MK" * (3 + i) + "W") for i in range(40)]}
    pool = make_pool(tmp_path, sources, parts=4)
    chosen = [np.arange(p.first_key, p.first_key + p.n_sequences)[::2] for p in pool.parts]
    view = tmp_path / "views" / "half"
    write_view(pool, chosen, view)
    # MMseqs2 itself copies what it finds in the view at these keys.
    listed = tmp_path / "keys"
    listed.write_text("".join(f"{key}\n" for key in np.concatenate(chosen)))
    find_mmseqs("auto").run("createsubdb", listed, view, tmp_path / "copy", "--subdb-mode", 0)
    everything = [s for p in pool.parts for s in sequences_in(p.database)]
    found = sequences_in(tmp_path / "copy")
    assert found == [everything[key] for key in np.concatenate(chosen)]


def test_missing_part_is_refused(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, SOURCES, parts=4)
    (pool.parts[2].folder / "part.json").unlink()
    with pytest.raises(DedupError, match="3 of 4 parts"):
        Pool.open(tmp_path / "pool/protein")


@pytest.mark.parametrize("parts", [1, 2, 64])
def test_clean_files_for_another_number_of_parts_are_refused(tmp_path: Path, parts: int) -> None:
    make_pool(tmp_path, SOURCES, parts=4)
    with pytest.raises(DedupError, match=f"4 parts, not {parts}"):
        pool_part([tmp_path / "clean/a"], ["a"], 0, parts, "protein", tmp_path / "out")


def test_damaged_clean_file_is_named(tmp_path: Path) -> None:
    make_pool(tmp_path, SOURCES, parts=1)
    path = tmp_path / "clean/a/part-0000.fasta"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DedupError, match=r"clean/a/part-0000.fasta is damaged"):
        pool_part([tmp_path / "clean/a"], ["a"], 0, 1, "protein", tmp_path / "out")


def test_parts_follow_the_top_bits() -> None:
    values = digests([b"MKV", b"MKVLL", b"GGG"])
    assert values.dtype == np.uint64
    assert values[0] == int.from_bytes(blake2b(b"MKV", digest_size=8).digest(), "big")
    for parts in (1, 2, 16):
        assert part_of(values, parts).tolist() == [int(v) * parts >> 64 for v in values]
    with pytest.raises(PlmScalingError, match="power of two"):
        part_of(values, 3)


def test_more_sources_than_a_byte_counts_are_refused(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(128)]
    with pytest.raises(DedupError, match="128 sources, at most 127"):
        pool_part([tmp_path] * 128, names, 0, 1, "protein", tmp_path / "pool")
