"""Models fine-tuned by adapters: what they learn beyond frozen probes, and what stays as it was."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from downstream_rows import SETTINGS, evaluated, prepared
from finished_runs import finished_run

from plm_scaling.config.downstream import Lora
from plm_scaling.downstream.contacts.precision import METRICS, RANGES
from plm_scaling.downstream.lora.adapters import adapted, linear_layers
from plm_scaling.downstream.lora.sequences import tuned_labels
from plm_scaling.inference.models.open import open_model
from plm_scaling.tokens.format.vocabulary import STANDARD

LORA = Lora(rank=8, alpha=16, learning_rate=1e-2, epochs=8, batch=16)
SHORT = LORA.model_copy(update={"epochs": 2})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs by objective and recipe, not trained."""
    folder = tmp_path_factory.mktemp("runs")
    for name, kind in {"clm": ("clm", "prenorm"), "mlm": ("mlm", "study")}.items():
        finished_run(folder / name, *kind)
    return folder


@pytest.fixture(autouse=True)
def no_search(monkeypatch):
    monkeypatch.setattr(
        "plm_scaling.downstream.similarity.overlap.best_identities",
        lambda queries, targets, out, min_seq_id: np.full(len(queries), np.nan),
    )


def with_lora(lora):
    return SimpleNamespace(**vars(SETTINGS) | {"lora": lora})


def shuffles(number, seed=0):
    """Proteins of the same residues: only their order differs."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.permutation([*"WWWWCCCCAAAA"])) for _ in range(number)]


def split_of(number):
    return [("train", "train", "train", "valid", "test")[i % 5] for i in range(number)]


@pytest.mark.parametrize("name", ["clm", "mlm"])
def test_adapters_change_nothing_before_the_first_step_and_after_the_last(runs, name):
    rows = np.random.default_rng(1).integers(1, 20, (3, 30)).astype(np.uint8)
    sizes = np.full(3, 30)
    known = pd.DataFrame({"sequence": shuffles(12), "label": range(12)})
    with open_model(str(runs / name), threads=1) as model:
        weights = {key: value.clone() for key, value in model.network.named_parameters()}
        before = model.states(rows, sizes, 2)
        with adapted(model.network, LORA, seed=1) as parameters:
            assert len(parameters) == 2 * len(linear_layers(model.network)) == 2 * 4 * 2
            torch.testing.assert_close(model.states(rows, sizes, 2), before, rtol=0, atol=0)
            for own in parameters:
                own.add_(0.1)
            assert (model.states(rows, sizes, 2) - before).abs().max() > 0.01
        tuned_labels(model, known, ["WCA"], False, SHORT, seed=1)
        torch.testing.assert_close(model.states(rows, sizes, 2), before, rtol=0, atol=0)
        for key, value in model.network.named_parameters():
            assert torch.equal(value, weights[key])
            assert value.requires_grad
            assert value.grad is None


def test_order_of_residues_is_learnt_where_a_frozen_probe_does_not_see_it(runs, tmp_path):
    texts = shuffles(400)
    target = [text.count("WC") for text in texts]
    columns = {"sequence": texts, "target": target, "split": split_of(400)}
    pd.DataFrame(columns).to_csv(tmp_path / "pairs.csv", index=False)
    prepared("regression", [tmp_path / "pairs.csv"], tmp_path / "pairs")
    frozen, tuned = evaluated("regression", runs / "clm", tmp_path / "pairs", with_lora(LORA))
    assert (frozen.protocol, tuned.protocol) == ("ridge", "lora")
    assert tuned.value > 0.85 > 0.75 > frozen.value
    assert tuned.layer == 2
    table = pd.read_parquet(tmp_path / "pairs/predictions.parquet")
    assert table["tuned"].corr(table["label"], "spearman") == pytest.approx(tuned.value)
    assert (table["tuned"] - table["label"]).abs().mean() < 0.5  # in the units of the labels


def test_the_same_seed_gives_the_same_labels(runs):
    texts = shuffles(40)
    known = pd.DataFrame({"sequence": texts, "label": [str(one.count("WC")) for one in texts]})
    found = []
    for seed in (1, 1, 2):
        with open_model(str(runs / "clm"), threads=1) as model:
            numbers = known.assign(label=known["label"].astype(float))
            found.append(tuned_labels(model, numbers, texts[:5], False, SHORT, seed))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_folds_are_classes(runs, tmp_path):
    texts, rng = shuffles(150), np.random.default_rng(3)
    folds = rng.integers(0, 3, 150)
    rows = {
        "sequence": ["WGP"[fold] * 6 + text for fold, text in zip(folds, texts, strict=True)],
        "label": folds,
        "split": [f"{one}_fold" if one == "test" else one for one in split_of(150)],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "folds.csv", index=False)
    prepared("remote_homology", [tmp_path / "folds.csv"], tmp_path / "folds")
    scores = evaluated("remote_homology", runs / "mlm", tmp_path / "folds", with_lora(LORA))
    assert [one.protocol for one in scores] == ["pooled", "fold", "lora_pooled", "lora_fold"]
    assert scores[-1].value > 0.9
    assert scores[-1].n_items == 30


def test_classes_of_residues_follow_from_their_neighbours(runs, tmp_path):
    """By the residue before. What is not resolved teaches nothing, and is not counted."""
    texts = shuffles(200)
    of_one = {"W": "H", "C": "E", "A": "C"}
    labels = ["-" + "".join(of_one[letter] for letter in text[:-1]) for text in texts]
    rows = {"sequence": texts, "ss3": labels, "split": split_of(200)}
    pd.DataFrame(rows).to_csv(tmp_path / "classes.csv", index=False)
    prepared("secondary_structure", [tmp_path / "classes.csv"], tmp_path / "classes")
    lora = LORA.model_copy(update={"batch": 4})
    given = (runs / "mlm", tmp_path / "classes", with_lora(lora))
    frozen, tuned = evaluated("secondary_structure", *given)
    assert (frozen.protocol, tuned.protocol) == ("logistic", "lora")
    assert tuned.n_items == frozen.n_items == 40 * 11
    assert tuned.layer == 2
    assert tuned.value > 0.95
    assert tuned.value > frozen.value + 0.1
    table = pd.read_parquet(tmp_path / "classes/predictions.parquet")
    assert table["tuned"].str.len().eq(12).all()


def test_contacts_that_follow_from_residues_are_found(runs, tmp_path):
    """W touches C wherever both are: attention of a model that was never trained says nothing of
    it."""
    for name, number in (("train", 20), ("test", 10)):
        rng = np.random.default_rng(number)
        rows = []
        for _ in range(number):
            letters = rng.choice([*STANDARD], 40)
            touches = (letters == "W")[:, None] & (letters == "C")[None]
            pairs = np.argwhere(np.triu(touches | touches.T, 1))
            rows.append({"seq": "".join(letters), "label": pairs.tolist()})
        pd.DataFrame(rows).to_parquet(tmp_path / f"{name}.parquet")
    prepared("contacts", [*tmp_path.glob("*.parquet")], tmp_path / "prepared")
    lora = LORA.model_copy(update={"batch": 2, "epochs": 10})
    scores = evaluated("contacts", runs / "mlm", tmp_path / "prepared", with_lora(lora))
    assert [(one.protocol, one.metric) for one in scores] == [
        (kind + name, metric) for kind in ("", "lora_") for name in RANGES for metric in METRICS
    ]
    found = {(one.protocol, one.metric): one for one in scores}
    tuned = found["lora_contacts_study", "p_at_l5"]
    assert tuned.value > 10 * tuned.floor
    assert tuned.note == "fine-tuned to 20 proteins"
    assert "fitted to 6 proteins" in found["contacts_study", "p_at_l5"].note
