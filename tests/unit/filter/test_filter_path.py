"""The score table and selection on the invented families."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Corpus

from plm_scaling.dedup.database import read_index, read_sequences
from plm_scaling.errors import FilterError
from plm_scaling.filter.score import score_sequences
from plm_scaling.filter.select import REASONS, select_sequences, selected_sequences

SELECT = {
    "min_length": 30,
    "max_length": 600,
    "max_unknown_fraction": 0.05,
    "min_distinct_3mer_ratio": 0.65,
    "perplexity_quantiles": [0.05, 0.95],
}


def test_scores_every_training_and_validation_sequence_has_a_row(corpus: Corpus) -> None:
    scores = pd.read_parquet(corpus.folder / "scores.parquet").set_index("id")
    split = pd.read_parquet(corpus.folder / "split" / "assignment.parquet").set_index("id")
    expected = split[split.split.isin(["train", "valid"])]
    assert set(scores.index) == set(expected.index)
    assert (scores.split == expected.split[scores.index]).all()
    assert (scores.source.astype(str) == expected.source[scores.index].astype(str)).all()
    assert scores.nll_per_residue.between(1, 5).all()


def test_selection_sequences_follow_the_rules(corpus: Corpus) -> None:
    folder = corpus.folder / "filter"
    kept, dropped = (
        pd.read_parquet(folder / "kept.parquet"),
        pd.read_parquet(folder / "dropped.parquet"),
    )
    scores = pd.read_parquet(corpus.folder / "scores.parquet")
    assert sorted([*kept.id, *dropped.id]) == sorted(scores.id)
    reasons = dropped.set_index("id").reason
    assert set(reasons) <= set(REASONS[1:])
    for name, reason in (("onelong", "too_long"), ("tworepeat", "low_complexity")):
        if name in set(scores.id):
            assert reasons[name] == reason
    assert kept.length.between(30, 600).all()
    assert (kept.distinct_3mer_ratio >= 0.65).all()
    limits = json.loads((folder / "thresholds.json").read_text())["perplexity"]
    train = kept[kept.split == "train"]
    for source, rows in train.groupby("source", observed=True):
        assert rows.nll_per_residue.between(limits[source]["low"], limits[source]["high"]).all()
    assert (dropped.reason.str.startswith("perplexity") & (dropped.split == "train")).any()


def test_selection_databases_hold_the_kept_sequences(corpus: Corpus) -> None:
    kept = pd.read_parquet(corpus.folder / "filter" / "kept.parquet")
    for (split, source), rows in kept.groupby(["split", "source"], observed=True):
        path = selected_sequences(corpus.folder / "filter", split, source)
        assert read_index(path)[0].tolist() == rows.key.tolist()
        stored = [s for chunk in read_sequences(path) for s in chunk]
        assert stored == [corpus.sequences[name] for name in rows.id]


def select(corpus: Corpus, out: Path, **changed: object) -> None:
    asked = {**SELECT, **changed}
    select_sequences(
        corpus.folder / "scores.parquet", corpus.folder / "split", **asked, mmseqs="auto", out=out
    )  # fmt: skip


def test_selection_threshold_does_not_touch_the_validation_set(
    corpus: Corpus, tmp_path: Path
) -> None:
    select(corpus, tmp_path / "loose", perplexity_quantiles=[0.0, 1.0])
    select(corpus, tmp_path / "tight", perplexity_quantiles=[0.3, 0.6])
    loose, tight = (pd.read_parquet(tmp_path / n / "kept.parquet") for n in ("loose", "tight"))
    assert list(loose[loose.split == "valid"].id) == list(tight[tight.split == "valid"].id)
    n_loose, n_tight = (int((t.split == "train").sum()) for t in (loose, tight))
    assert n_tight == pytest.approx(0.3 * n_loose, abs=3)
    dropped = pd.read_parquet(tmp_path / "loose" / "dropped.parquet")
    assert not dropped.reason.str.startswith("perplexity").any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"perplexity_quantiles": [0.9, 0.1]}, "must ascend"),
        ({"min_length": 10, "max_length": 5}, "keep no sequence"),
        ({"min_length": 590}, "no training sequence of"),
    ],
)
def test_selection_impossible_rules_are_refused(
    corpus: Corpus, tmp_path: Path, changed: dict, message: str
) -> None:
    with pytest.raises(FilterError, match=message):
        select(corpus, tmp_path / "filter", **changed)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", [0, 6])
def test_scores_unsupported_order_is_refused(corpus: Corpus, tmp_path: Path, order: int) -> None:
    with pytest.raises(FilterError, match=f"order {order} is not supported"):
        score_sequences(corpus.folder / "split", "one", order, tmp_path / "m", tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_scores_same_input_gives_same_bytes(corpus: Corpus, tmp_path: Path) -> None:
    score_sequences(corpus.folder / "split", "one", 3, tmp_path / "m.npz", tmp_path / "s.parquet")
    again = pd.read_parquet(tmp_path / "s.parquet")
    first = pd.read_parquet(corpus.folder / "scores.parquet")
    assert np.array_equal(again.nll_per_residue, first.nll_per_residue)
    assert again.model.equals(first.model)
