"""Deduplication of invented families with the real MMseqs2."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import stages
from families import families, family_of, mutate, random_protein
from pools import make_pool

from plm_scaling.common.errors import DedupError
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.pool.read import Pool

SOURCES = ["one", "two"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), families(60, SOURCES))


@pytest.fixture(scope="module")
def deduped(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages.dedup(pool, tmp_path_factory.mktemp("run") / "dedup")


def test_near_identical_members_share_a_representative(pool: Pool, deduped: Path) -> None:
    table = stages.table(pool, deduped)
    assert len(table) == 180
    own, head = (table.index.map(family_of), table.representative.map(family_of))
    assert (own == head.to_numpy()).all()
    per_family = table.groupby(own).representative.nunique()
    assert (per_family == 2).mean() > 0.9  # a and b merge, c stays
    assert not list(deduped.parent.glob(".*"))  # no work is left


def test_representative_comes_from_the_first_source_of_its_cluster(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    protein = random_protein(rng, 200)
    short, shorter = mutate(rng, protein, 0.01)[:-5], mutate(rng, protein, 0.01)[:-8]
    records = {
        "first": [("f-shorter", shorter), ("f-short", short), ("f-other", random_protein(rng, 99))],
        "second": [("s-long", protein), ("s-copy", protein), ("s-longest", protein + "MKV")],
    }
    for order, expected in ((["first", "second"], "f-short"), (["second", "first"], "s-longest")):
        folder = tmp_path / order[0]
        pool = make_pool(folder, {source: records[source] for source in order})
        table = stages.table(pool, stages.dedup(pool, folder / "dedup"))
        in_cluster = table.drop("f-other")
        assert set(in_cluster.representative) == {expected}, order
        assert table.representative["f-other"] == "f-other"


def test_counts_name_the_reason_of_every_record(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    protein, repeated = random_protein(rng, 150), random_protein(rng, 80)
    near = mutate(rng, protein, 0.02)
    pool = make_pool(
        tmp_path,
        {
            "one": [("a", protein), ("b", near[:-1]), ("c", protein)],
            "two": [("d", near), ("e", protein), ("f", repeated), ("g", repeated), ("h", repeated)],
            "three": [("i", repeated), ("j", near[:-2])],
        },
    )
    assert stages.counts(stages.dedup(pool, tmp_path / "dedup")) == {
        ("one", "in"): 3,
        ("one", "kept"): 1,
        ("one", "duplicate_within_source"): 1,
        ("one", "exact_copy_within_source"): 1,
        ("two", "in"): 5,
        ("two", "kept"): 1,
        ("two", "duplicate_across_sources"): 1,
        ("two", "exact_copy_across_sources"): 1,
        ("two", "exact_copy_within_source"): 2,
        ("three", "in"): 2,
        ("three", "exact_copy_across_sources"): 1,
        ("three", "duplicate_across_sources"): 1,
    }


def test_result_depends_on_neither_threads_nor_parts_nor_input_order(
    pool: Pool, deduped: Path, tmp_path: Path
) -> None:
    expected = stages.table(pool, deduped)
    again = stages.dedup(pool, tmp_path / "dedup", threads=2)
    assert stages.files_below(again) == stages.files_below(deduped)
    for parts in (1, 4):
        records = families(60, SOURCES)
        for rows in records.values():
            np.random.default_rng(parts).shuffle(rows)
        other = make_pool(tmp_path / str(parts), records, parts)
        table = stages.table(other, stages.dedup(other, tmp_path / str(parts) / "dedup"))
        pd.testing.assert_frame_equal(table, expected)


def test_little_memory_splits_the_work_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(tmp_path, families(1500, SOURCES))
    expected = stages.files_below(stages.dedup(pool, tmp_path / "whole"))
    monkeypatch.setattr(Resources, "split_memory_mib", lambda self, n_sequences, least_mib: 1)
    with caplog.at_level(logging.DEBUG, "plm_scaling"):
        splitted = stages.dedup(pool, tmp_path / "splitted")
    assert "Process file into 2 parts" in caplog.text
    assert stages.files_below(splitted) == expected


def test_failing_command_is_named_and_leaves_no_output(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(DedupError, match=r"(?s)linclust failed.*B are free on the disk of.*again"):
        stages.dedup(pool, tmp_path / "out", min_seq_id=7.0)
    assert [path.name for path in tmp_path.iterdir()] == [".out.work"]


def test_memory_below_the_index_is_refused(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(DedupError, match=r"100 MB of memory are too little for 180 sequences"):
        stages.dedup(pool, tmp_path / "out", memory_mb=100)


def test_scratch_is_used_and_left_clean(
    pool: Pool, deduped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with caplog.at_level(logging.DEBUG, "plm_scaling"):
        out = stages.dedup(pool, tmp_path / "dedup", scratch=scratch)
    assert f"go to {scratch}" in caplog.text
    assert f"kmermatcher {scratch}" in caplog.text
    assert not list(scratch.iterdir())
    assert stages.files_below(out) == stages.files_below(deduped)
