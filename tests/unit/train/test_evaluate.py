"""Every run is evaluated on the same held-out sets, by source, whatever it is trained on."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from configs import read_config
from corpora import random_sequences, valid_rows, write_corpus, write_tokens
from pools import make_pool
from selections import select

from plm_scaling.common.errors import TokenError
from plm_scaling.study.shapes import Shape
from plm_scaling.sweep.make import make_cell
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train import evaluate
from plm_scaling.train.data.batches import causal_batch
from plm_scaling.train.evaluate import held_out, loss_sums, mean_losses

N_SEQUENCES = {"large": 900, "small": 12, "tiny": 1}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three sources of very unequal held-out rows, and new families in two of them."""
    folder = tmp_path_factory.mktemp("corpus")
    records = {
        source: [
            (f"{split}{i}", text)
            for number, split in enumerate(("train", "valid", "ood"))
            for i, text in enumerate(
                random_sequences(0 if (split, source) == ("ood", "small") else n, 7 * n + number)
            )
        ]
        for source, n in N_SEQUENCES.items()
    }
    pool = make_pool(folder, records)
    select(pool, folder / "filter", lambda name: (name.rstrip("0123456789"), "kept"))
    return write_tokens(folder, pool)


@pytest.fixture(scope="module")
def corpus(manifest):
    return TokenCorpus.open(manifest)


@pytest.fixture(scope="module")
def cell(root):
    config = read_config(root / "config/demo.yaml")
    made = make_cell(config, "clm", "demo", "study", "tiny", Shape(1, 16, 42, 2), 2e9, seed=1)
    return dataclasses.replace(
        made, mixture={"large": 1.0}, context_length=64, valid_rows=100, data_seed=3
    )


def as_mlm(cell):
    return dataclasses.replace(cell, objective="mlm", mask_ratio=0.3, masking="token")


def losses_of(batch):
    """Losses as a model could give them: a function of what is predicted."""
    return torch.sin(batch.labels.double() + 0.1 * batch.inputs) + 2


def losses(sets):
    sums = sum(
        loss_sums(losses_of(batch), batch, groups, len(sets.names))
        for batch, groups in sets.batches
    )
    return mean_losses(sets, sums)


def mean_of(rows):
    batch = causal_batch(rows)
    return float((losses_of(batch) * batch.loss_mask).sum() / batch.loss_mask.sum())


def test_valid_is_the_loss_of_the_proportional_sample(corpus, cell):
    found = losses(held_out(corpus, cell))
    assert next(iter(found)) == "valid"
    assert found["valid"] == pytest.approx(mean_of(valid_rows(corpus, 100, 3)), rel=1e-12)
    assert found["ood"] == pytest.approx(mean_of(valid_rows(corpus, 100, 3, "ood")), rel=1e-12)


def test_every_source_with_few_rows_is_evaluated_on_all_of_them(corpus, cell):
    found = losses(held_out(corpus, cell))
    assert set(found) == {
        *("valid", "valid/large", "valid/small", "valid/tiny"),
        *("ood", "ood/large", "ood/tiny"),
    }
    for name in ("valid/small", "valid/tiny", "ood/tiny"):
        split, source = name.split("/")
        rows = corpus.rows(split, source)
        assert len(rows) < 64
        assert found[name] == pytest.approx(mean_of(rows.read(np.arange(len(rows)))), rel=1e-12)
    own = corpus.held_out_rows("valid", 100, 3)["large"].rows
    assert 64 < len(own) < 100
    assert found["valid/large"] == pytest.approx(mean_of(own), rel=1e-12)


def test_rows_beyond_the_sample_stop_at_the_floor(corpus, cell, monkeypatch):
    monkeypatch.setattr(evaluate, "SOURCE_ROWS", 4)
    sets = held_out(corpus, cell)
    n_rows = dict.fromkeys(sets.sets, 0)
    for _, groups in sets.batches:
        for name, of in sets.sets.items():
            n_rows[name] += int(np.isin(groups, of).sum())
    assert n_rows["valid"] == 100
    assert n_rows["valid/small"] == 4
    assert n_rows["valid/tiny"] == 1
    monkeypatch.setattr(evaluate, "SOURCE_ROWS", 64)
    assert losses(held_out(corpus, cell))["valid"] == losses(sets)["valid"]


def test_all_runs_get_the_same_rows_and_masks(corpus, cell):
    mlm = as_mlm(cell)
    other = dataclasses.replace(
        mlm, mixture={"small": 0.5, "tiny": 0.5}, corpus="other", seed=7, size="other"
    )
    ours, theirs = held_out(corpus, mlm), held_out(corpus, other)
    for (one, groups), (two, same) in zip(ours.batches, theirs.batches, strict=True):
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.loss_mask, two.loss_mask)
        assert np.array_equal(groups, same)
    masks = torch.cat([batch.loss_mask for batch, _ in ours.batches])
    assert len(masks.unique(dim=0)) > 0.9 * len(masks)  # not one mask for all rows
    causal = held_out(corpus, cell)
    for (one, _), (two, _) in zip(ours.batches, causal.batches, strict=True):
        assert torch.equal(one.labels, torch.roll(two.labels, 1, 1))  # the same rows for CLM


def test_the_common_set_has_the_same_masks_for_cells_of_any_masking(corpus, cell):
    own = dataclasses.replace(as_mlm(cell), masking="span")
    both = dataclasses.replace(own, common_evaluation=True)
    usual = dataclasses.replace(as_mlm(cell), masking="token", mask_ratio=0.15)
    found = losses(held_out(corpus, both))
    assert found["common"] == losses(held_out(corpus, usual))["valid"]
    assert found["common/large"] == losses(held_out(corpus, usual))["valid/large"]
    rest = {name: loss for name, loss in found.items() if not name.startswith("common")}
    assert rest == losses(held_out(corpus, own))  # nothing else differs


def test_predicted_tokens_are_the_denominators_of_the_mean_losses(corpus, cell):
    sets = held_out(corpus, as_mlm(cell))
    counts = sets.predicted_tokens()
    assert counts["valid"] == sum(
        int(batch.loss_mask[np.isin(groups, sets.sets["valid"])].sum())
        for batch, groups in sets.batches
    )
    assert (
        counts["valid/large"]
        < counts["valid"]
        < sum(counts[name] for name in counts if name.startswith("valid/"))
    )


def test_a_corpus_of_one_source_without_new_families(tmp_path, cell):
    corpus = TokenCorpus.open(write_corpus(tmp_path))
    found = losses(held_out(corpus, dataclasses.replace(cell, valid_rows=20)))
    assert set(found) == {"valid", "valid/a", "valid/b"}
    with pytest.raises(TokenError, match="rows of valid are asked for"):
        held_out(corpus, dataclasses.replace(cell, valid_rows=10**6))


def test_held_out_code_is_no_held_out_set(manifest, tmp_path, cell):
    shutil.copytree(manifest.parent, tmp_path / "tokens")
    content = json.loads(manifest.read_text())
    content["splits"]["valid"]["sources"]["small"]["kind"] = "code"
    manifest = tmp_path / "tokens/manifest.json"
    manifest.write_text(json.dumps(content))
    found = losses(held_out(TokenCorpus.open(manifest), cell))
    assert "valid/small" not in found
