"""The score tables: who has a row, what it says, and that parts change nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from filtered import Filtered, distinct_share
from pools import make_pool
from splits import write_split

from plm_scaling.common.errors import FilterError
from plm_scaling.common.files import sha256_of
from plm_scaling.filter import ngram
from plm_scaling.filter.ngram import load_ngram
from plm_scaling.filter.reference import train_reference
from plm_scaling.filter.score import SCORE_SCHEMA, score_part


def split_of(run: Filtered, key: int) -> str:
    return run.splits[run.near.get(key, key)]


def test_scored_are_all_of_training_and_representatives_of_the_held_out(made: Filtered) -> None:
    scores = made.scores()
    expected = [
        key
        for key in range(made.pool.n_sequences)
        if split_of(made, key) in ("train", "valid", "ood")
        and (key not in made.near or split_of(made, key) == "train")
    ]
    assert scores.key.tolist() == expected
    assert scores.split.tolist() == [split_of(made, key) for key in expected]
    owners = made.records.groupby("key").first()
    assert scores.id.tolist() == owners.id[expected].tolist()
    assert scores.source.tolist() == owners.source[expected].tolist()
    assert scores.length.tolist() == owners.length[expected].tolist()


def test_scores_do_not_depend_on_other_sequences(made: Filtered) -> None:
    scores = made.scores()
    model = load_ngram(made.folder / "model.npz")
    sequences = made.records.drop_duplicates("key").set_index("key").sequence
    for row in scores.iloc[::50].itertuples():
        text = sequences[row.key].encode()
        single = model.nll_per_residue(text + ngram.END, np.array([len(text)]))[0]
        assert row.nll_per_residue == np.float32(single)
        assert row.unknown_fraction == pytest.approx(sum(c in b"XBZJ" for c in text) / len(text))
        assert row.distinct_3mer_ratio == np.float32(distinct_share(text))
        assert row.model == model.name


def test_scores_do_not_depend_on_the_number_of_parts(made: Filtered, other: Filtered) -> None:
    assert sha256_of(other.folder / "model.npz") == sha256_of(made.folder / "model.npz")
    pd.testing.assert_frame_equal(other.scores(), made.scores(), check_exact=True)


def test_scores_are_reproducible_to_the_byte(made: Filtered, tmp_path: Path) -> None:
    model = load_ngram(made.folder / "model.npz")
    out = tmp_path / "part.parquet"
    score_part(made.pool.folder, made.split, 2, model, out)
    assert sha256_of(out) == sha256_of(made.folder / "scores" / "part-0002.parquet")
    assert pq.read_schema(out).names == SCORE_SCHEMA.names


def test_model_is_trained_on_the_reference_sequences_of_its_source(made: Filtered) -> None:
    owners = made.records.drop_duplicates("key")
    chosen = owners[owners.source == "one"]
    chosen = chosen[[split_of(made, key) == "reference" for key in chosen.key]]
    chosen = chosen[~chosen.key.isin(list(made.near))]
    chunk = b"".join(text.encode() + ngram.END for text in chosen.sequence)
    expected = ngram.train(ngram.count(chunk, 3), 3)
    assert np.array_equal(load_ngram(made.folder / "model.npz").nll, expected.nll)


def test_undefined_score_is_missing(made: Filtered, tmp_path: Path) -> None:
    class Silent:
        name = "silent"
        chunk_residues = 1000

        def nll_per_residue(self, chunk: bytes, lengths: np.ndarray) -> np.ndarray:
            return np.where(lengths > 100, 2.5, np.nan)

    out = tmp_path / "part.parquet"
    score_part(made.pool.folder, made.split, 0, Silent(), out)
    table = pq.read_table(out)
    missing = table["nll_per_residue"].is_null().to_numpy()
    assert np.array_equal(missing, table["length"].to_numpy() <= 100)
    assert missing.any()
    assert not missing.all()


def test_part_without_sequences_gives_an_empty_table(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, {"a": [("a1", "MKVLAWGG")]}, parts=4)
    split = write_split(tmp_path / "split", pool, ["train"])
    model = ngram.train(ngram.count(b"MKV\n\0", 2), 2)
    rows = []
    for part in range(4):
        score_part(pool.folder, split, part, model, tmp_path / f"{part}.parquet")
        rows.append(pq.read_table(tmp_path / f"{part}.parquet").num_rows)
    assert sorted(rows) == [0, 0, 0, 1]


@pytest.mark.parametrize("order", [0, 6])
def test_unsupported_order_is_refused(made: Filtered, tmp_path: Path, order: int) -> None:
    with pytest.raises(FilterError, match=f"order {order} is not supported"):
        train_reference(made.pool.folder, made.split, order, "one", tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_reference_source_without_sequences_is_refused(made: Filtered, tmp_path: Path) -> None:
    with pytest.raises(FilterError, match="'three' is not among one, two"):
        train_reference(made.pool.folder, made.split, 3, "three", tmp_path / "m")
    split = write_split(tmp_path / "split", made.pool, ["train"] * made.pool.n_sequences)
    with pytest.raises(FilterError, match="no reference sequence of 'one'"):
        train_reference(made.pool.folder, split, 3, "one", tmp_path / "m")


def test_part_absent_from_the_pool_is_refused(made: Filtered, tmp_path: Path) -> None:
    model = load_ngram(made.folder / "model.npz")
    with pytest.raises(FilterError, match="parts 0 to 3, not 4"):
        score_part(made.pool.folder, made.split, 4, model, tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is damaged"),
        (lambda path: pq.write_table(pq.read_table(path).slice(1), path), "is of another pool"),
        (lambda path: pq.write_table(pq.read_table(path).drop(["split"]), path), "no column split"),
    ],
)
def test_split_that_does_not_match_the_pool_is_named(tmp_path: Path, damage, message: str) -> None:
    pool = make_pool(tmp_path, {"a": [(f"a{i}", "MKV" * (i + 3)) for i in range(20)]}, parts=1)
    split = write_split(tmp_path / "split", pool, ["train"] * 20)
    damage(split / "part-0000.parquet")
    model = ngram.train(ngram.count(b"MKV\n\0", 2), 2)
    with pytest.raises(FilterError, match=message) as raised:
        score_part(pool.folder, split, 0, model, tmp_path / "out")
    assert str(split / "part-0000.parquet") in str(raised.value)
    assert not (tmp_path / "out").exists()
