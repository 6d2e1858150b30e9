"""Contacts by a model's attention: what is read, which proteins count, and what chance gives."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from downstream_rows import evaluated, prepared
from finished_runs import CONTEXT, finished_run

from plm_scaling.common.errors import DownstreamError
from plm_scaling.config.downstream import Contacts
from plm_scaling.downstream.contacts.precision import METRICS, RANGES
from plm_scaling.tokens.format.vocabulary import STANDARD

EAGER = SimpleNamespace(contacts=Contacts(train=6, penalty=1e4, separation=6), lora=None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs mlm and clm, not trained."""
    folder = tmp_path_factory.mktemp("runs")
    for objective in ("mlm", "clm"):
        finished_run(folder / objective, objective, "prenorm")
    return folder


def proteins(path, number, length=50, seed=0, share=0.04):
    """A table as those of biomap-research, of contacts at random."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(number):
        pairs = np.argwhere(np.triu(rng.random((length, length)) < share, 3)).tolist()
        rows.append({"seq": "".join(rng.choice([*STANDARD], length)), "label": pairs})
    pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared: 8 proteins to train on, 30 and one too long to test, and one in both."""
    folder = tmp_path_factory.mktemp("data")
    files = [
        proteins(folder / "train.parquet", 8, seed=1),
        proteins(folder / "test-0.parquet", 30, seed=2),
        proteins(folder / "test-1.parquet", 1, length=CONTEXT + 1, seed=3),
        proteins(folder / "test-2.parquet", 1, seed=1),
    ]
    prepared("contacts", files, folder / "prepared")
    return folder / "prepared"


def test_sequence_of_both_sets_stays_in_training(folder):
    items = pd.read_parquet(folder / "items.parquet")
    assert items["split"].value_counts().to_dict() == {"test": 31, "train": 8}
    counts = pd.read_csv(folder / "counts.tsv", sep="\t").set_index("reason")["sequences"]
    assert counts.to_dict() == {"in": 40, "kept": 39, "same_sequence": 1}


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_untrained_model_is_at_the_base_rate(folder, runs, objective):
    scores = evaluated("contacts", runs / objective, folder, settings=EAGER)
    assert [(one.protocol, one.metric) for one in scores] == [
        (name, metric) for name in RANGES for metric in METRICS
    ]
    table = pd.read_parquet(folder / "predictions.parquet")
    assert len(table) == 30
    for score in scores:
        assert score.n_items == 30
        assert "fitted to 6 proteins; 1 of 39 proteins are longer than the context" in score.note
        assert score.floor == pytest.approx(0.04, abs=0.01)
        assert abs(score.value - score.floor) < 4 * score.standard_error
        assert table[f"{score.protocol}.{score.metric}"].mean() == pytest.approx(score.value)


def test_regression_that_finds_nothing_gives_no_score(folder, runs):
    for score in evaluated("contacts", runs / "mlm", folder):  # the penalty is that for real maps
        assert score.value is score.standard_error is None
        assert score.floor == pytest.approx(0.04, abs=0.01)
        assert "it found nothing in the attention maps" in score.note


def test_the_same_twice_and_another_draw_of_proteins_by_another_seed(folder, runs):
    first, again, other = (
        evaluated("contacts", runs / "mlm", folder, EAGER, seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert [one.value for one in first] != [one.value for one in other]


def test_proteins_that_are_all_too_long_are_refused(runs, tmp_path):
    path = proteins(tmp_path / "test.parquet", 12, length=CONTEXT)  # no room for the end
    prepared("contacts", [path], tmp_path / "a")
    with pytest.raises(DownstreamError, match="12 are longer than the context"):
        evaluated("contacts", runs / "mlm", tmp_path / "a")
