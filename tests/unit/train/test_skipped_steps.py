"""Steps that are skipped, and runs that diverge by them."""

import dataclasses
import json
import math
import re
from contextlib import nullcontext

import pandas as pd
import pytest
import torch
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from training import asked_to_stop, result_of, run_cell, small_cell, trained, whole

from plm_scaling.study.layout import Layout
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.data import feed
from plm_scaling.train.data.feed import Feed, Prefetched
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine.base import make_engine


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def feed_of(cell, manifest):
    order = TokenCorpus.open(manifest).train_rows(cell.mixture, cell.strata, None, cell.data_seed)
    return Feed(order, cell, whole(cell), replica=0)


def without_end(batch):
    """The batch with a loss that is not finite."""
    return dataclasses.replace(batch, loss_mask=batch.loss_mask * math.inf)


def of_nonsense(batch):
    """The batch with labels that no model trained so far expects."""
    return dataclasses.replace(batch, labels=torch.full_like(batch.labels, 127))


def without_masks(batch):
    """The batch with nothing to predict."""
    return dataclasses.replace(batch, loss_mask=torch.zeros_like(batch.loss_mask))


@pytest.fixture
def spoil(monkeypatch):
    """Spoil the batches of some steps (the first is 1) in a way."""
    real = feed.batch_of

    def spoil(steps, way):
        def batch_of(cell, rows, first_row):
            batch = real(cell, rows, first_row)
            return way(batch) if first_row // cell.batch_rows + 1 in steps else batch

        monkeypatch.setattr(feed, "batch_of", batch_of)

    return spoil


def test_a_skipped_step_does_not_change_weights_and_optimizer(root, manifest):
    cell = small_cell(root)
    batches = feed_of(cell, manifest)
    found = {}
    for skipping in (False, True):
        with training_process(whole(cell), 1, cell.seed) as process:
            engine = make_engine(cell, process)
            engine.train_step(batches.at(0).batches, 1e-2)
            if skipping:
                poisoned = [without_end(batch) for batch in batches.at(1).batches]
                assert engine.train_step(poisoned, 1e-2).skipped
                above = engine.train_step(batches.at(1).batches, 1e-2, loss_limit=0.1)
                assert above.skipped
                assert math.isfinite(above.loss)
            last = engine.train_step(batches.at(2).batches, 1e-2)
            found[skipping] = (last, [p.clone() for p in engine.model.parameters()])
    assert found[True][0] == found[False][0]
    assert all(map(torch.equal, found[True][1], found[False][1]))


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_skipped_step_says_which_rows_or_which_parameter(root, manifest, backend):
    cell = small_cell(root)
    layout = Layout(backend, 1, 1, 1, 1, "none")
    order = TokenCorpus.open(manifest).train_rows(cell.mixture, cell.strata, None, cell.data_seed)
    batches = Feed(order, cell, layout, replica=0).at(0).batches
    shim = cuda_on_cpu() if backend == "cuda" else nullcontext()
    with shim, training_process(layout, 1, cell.seed) as process:
        engine = make_engine(cell, process)
        poisoned = [*batches[:2], without_end(batches[2]), batches[3]]
        assert engine.train_step(poisoned, 1e-2).cause.startswith("rows 2 to 2 of the batch")
        spike = engine.train_step(batches, 1e-2, loss_limit=0.1)
        assert math.isfinite(spike.gradient_norm)
        assert re.fullmatch(r"rows \d to \d of the batch have loss \d\.\d+", spike.cause)
        name = "decoder.layers.0.mlp.linear_fc1.weight"
        engine.model.get_parameter(name).register_hook(lambda gradient: gradient * math.inf)
        bad = engine.train_step(batches, 1e-2)
        assert bad.skipped
        assert bad.cause.endswith(f"the gradient of {name} is non-finite")


@pytest.mark.parametrize(("way", "steps"), [(without_end, [8, 31]), (of_nonsense, [31, 40])])
def test_bad_steps_are_skipped_and_recorded(root, manifest, tmp_path, spoil, way, steps):
    cell = small_cell(root, spike_loss=1.0, max_skipped_steps=2)
    spoil(steps, way)
    result, curve = trained(cell, manifest, tmp_path)
    assert result["status"] == "finished"
    assert [entry["step"] for entry in result["skipped_steps"]] == steps
    assert curve.loss.notna().all()
    assert (curve.loss < 6).all()  # no skipped loss is in the mean of the others
    # The count, the mean and the evidence are in the checkpoint.
    half = tmp_path / "half"
    with asked_to_stop(35), pytest.raises(SystemExit):
        run_cell(cell, manifest, half)
    again, resumed = trained(cell, manifest, half)
    assert again["starts"][-1]["step"] == 35
    assert again["skipped_steps"] == result["skipped_steps"]
    pd.testing.assert_frame_equal(resumed, curve, check_exact=True)


def test_a_step_without_a_predicted_token_is_neither_skipped_nor_a_divergence(
    root, manifest, tmp_path, spoil
):
    cell = small_cell(root, max_skipped_steps=1)
    spoil([8, 9, 31], without_masks)
    result, curve = trained(cell, manifest, tmp_path)
    assert (result["status"], result["skipped_steps"]) == ("finished", [])
    assert curve.loss.notna().all()


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_step_without_a_predicted_token_changes_nothing(root, manifest, backend):
    cell = small_cell(root)
    layout = dataclasses.replace(whole(cell), backend=backend)
    shim = cuda_on_cpu() if backend == "cuda" else nullcontext()
    with shim, training_process(layout, 1, cell.seed) as process:
        engine = make_engine(cell, process)
        before = [p.clone() for p in engine.model.parameters()]
        empty = [without_masks(batch) for batch in feed_of(cell, manifest).at(0).batches]
        assert engine.train_step(empty, 1e-2).loss is None
        assert all(map(torch.equal, before, engine.model.parameters()))


def test_too_many_skipped_steps_are_a_divergence_with_the_evidence(
    root, manifest, tmp_path, spoil, caplog
):
    cell = small_cell(root, max_skipped_steps=1)
    spoil([8, 9, 31], without_end)
    result, _ = trained(cell, manifest, tmp_path)
    assert "step 8 is skipped: loss nan" in caplog.text
    assert result["status"] == "diverged"
    assert result["steps"] == 9
    assert result["loss"] is None
    assert [entry["step"] for entry in result["skipped_steps"]] == [8, 9]
    assert result["skipped_steps"][0]["loss"] in ("nan", "inf")
    assert "step 9" in result["reason"]


def test_a_held_out_loss_above_the_bound_is_a_divergence(root, manifest, tmp_path):
    cell = small_cell(root, divergence_loss=1.0)
    result, _ = trained(cell, manifest, tmp_path)
    assert (result["status"], result["steps"]) == ("diverged", 10)
    assert "validation loss" in result["reason"]
    assert json.loads(result_of(cell, tmp_path).read_text())["loss_last"] > 1


def test_prefetched_batches_are_those_of_the_feed(root, manifest):
    cell = small_cell(root, "mlm")
    ahead = Prefetched(feed_of(cell, manifest), torch.device("cpu"))
    plain = feed_of(cell, manifest)
    for step in (0, 1, 2, 70, 71, 3):  # a resume may begin anywhere
        found, expected = ahead.at(step), plain.at(step)
        assert found.unpadded_tokens == expected.unpadded_tokens
        assert torch.equal(found.batches[0].inputs, expected.batches[0].inputs)
    ahead.close()
    assert not any(thread.is_alive() for thread in ahead.thread._threads)
