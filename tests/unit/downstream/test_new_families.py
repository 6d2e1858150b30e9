"""Perplexity of sequences in bins of their identity to training."""

import numpy as np
import pandas as pd
import pytest
from downstream_rows import evaluated, prepared
from finished_runs import finished_run

from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.tokens.format.vocabulary import STANDARD


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs clm and mlm, not trained."""
    folder = tmp_path_factory.mktemp("runs")
    for objective in ("clm", "mlm"):
        finished_run(folder / objective, objective, "prenorm")
    return folder


def proteins(number, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice([*STANDARD], rng.integers(60, 150))) for _ in range(number)]


def changed(text, share, seed):
    rng = np.random.default_rng(seed)
    letters = np.array([*text])
    places = rng.permutation(len(text))[: int(share * len(text))]
    letters[places] = [STANDARD[(STANDARD.index(letters[i]) + 7) % 20] for i in places]
    return "".join(letters)


def fasta(path, texts):
    path.write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(texts)))
    return path


@pytest.mark.usefixtures("quick_searches")
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_bins_by_identity_hold_what_was_changed_so_much(runs, tmp_path, objective):
    trained = proteins(12)
    held_out = [
        *trained[:2],
        *(changed(text, 0.05, 1) for text in trained[2:5]),
        *(changed(text, 0.2, 2) for text in trained[5:8]),
        *(changed(text, 0.4, 3) for text in trained[8:12]),
        *proteins(5, seed=9),
    ]
    files = [fasta(tmp_path / "held.fasta", held_out), fasta(tmp_path / "train.fasta", trained)]
    prepared("ood_perplexity", files, tmp_path / "ood")
    scores = evaluated("ood_perplexity", runs / objective, tmp_path / "ood")
    groups = {one.protocol: one.n_groups for one in scores}
    assert groups == {
        **{"all": 17, "below_0.9": 12, "below_0.5": 5, "0_to_0.3": 5},
        **{"0.3_to_0.5": 0, "0.5_to_0.7": 4, "0.7_to_0.9": 3, "0.9_to_1": 5},
    }
    by_name = {(one.protocol, one.metric): one for one in scores}
    every = by_name["all", "nats_per_residue"]
    assert every.n_items == sum(len(text) - 1 for text in held_out)
    with open_model(str(runs / objective), 1) as model:
        scorer = Scorer(model, fast=objective == "mlm", amino_acids=True)
        nats = [
            -scorer.scores(text.encode() + b"\n\0", np.array([len(text)]))[0][1:].sum(dtype=float)
            for text in held_out
        ]
    assert every.value == pytest.approx(sum(nats) / every.n_items, rel=1e-5)
    assert by_name["all", "perplexity"].value == pytest.approx(np.exp(every.value))
    assert 0 < every.standard_error < 0.2
    assert every.floor == pytest.approx(np.log(20), abs=0.05)
    empty = by_name["0.3_to_0.5", "perplexity"]
    assert empty.value is empty.standard_error is empty.floor is None
    table = pd.read_parquet(tmp_path / "ood/predictions.parquet")
    assert table["nats"].to_numpy() == pytest.approx(nats, rel=1e-4)


def test_letters_that_are_no_amino_acid_do_not_count(runs, tmp_path):
    texts = proteins(4)
    with_x = [text[:20] + "X" + text[21:] for text in texts]
    prepared("ood_perplexity", [fasta(tmp_path / "a.fasta", with_x)], tmp_path / "ood")
    scores = evaluated("ood_perplexity", runs / "clm", tmp_path / "ood")
    assert [one.protocol for one in scores] == ["all", "all"]  # nothing to compare with
    assert scores[0].n_items == sum(len(text) - 2 for text in texts)


def test_exposure_to_a_studys_training_set_makes_the_bins(runs, tmp_path):
    texts = proteins(4)
    files = [fasta(tmp_path / "a.fasta", [*texts, texts[0]])]
    prepared("ood_perplexity", files, tmp_path / "ood")
    counts = pd.read_csv(tmp_path / "ood/counts.tsv", sep="\t").set_index("reason")["sequences"]
    assert counts.to_dict() == {"in": 5, "kept": 4, "same_sequence": 1}
    found = pd.DataFrame({"id": ["p0", "p1", "p2", "p3"], "identity": [0.95, np.nan, 0.6, 0.65]})
    found.to_parquet(tmp_path / "ood/exposure.one.parquet")
    bins = tmp_path / "ood/exposure.one.parquet"
    scores = evaluated("ood_perplexity", runs / "clm", tmp_path / "ood", exposure=bins)
    groups = {one.protocol: one.n_groups for one in scores}
    assert (groups["0.9_to_1"], groups["0.5_to_0.7"], groups["0_to_0.3"]) == (1, 2, 1)
