"""muP: activations change alike, and one learning rate is the best, whatever the width."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from cell_fixtures import MUP, cell_of
from corpora import pack_rows, write_corpus
from plain_models import logits_of
from training import asked_to_stop, curve_of, run_cell, small_cell

from plm_scaling.study.layout import Layout
from plm_scaling.study.mup import Scales, scales_of
from plm_scaling.study.shapes import Shape
from plm_scaling.train.data.batches import batch_of
from plm_scaling.train.distributed.process import cpu_process, training_process
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.engine.optimizer import learning_rate, make_optimizer, set_learning_rate
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_logits, model_losses

ROWS, LETTERS = 8, "ACDEFG"
ONE = Layout("cpu", 1, 1, 1, ROWS, "none")


def cell_of_width(width, mup=True, base=16, channels=8, layers=2, **changes):
    """Heads of `channels`; initial weights suit the width, with muP the base width."""
    std = (2 / (5 * (base if mup else width))) ** 0.5
    scaled = {"mup_base_width": base, "mup_base_channels": 8} if mup else {}
    shape = Shape(layers, width, 8 * width // 3, width // channels)
    values = {"batch_rows": ROWS, "init_std": std} | scaled | changes
    return cell_of("clm", shape, "prenorm", **values)


@functools.cache
def chained_rows(count):
    """Rows in which two residues say the next one, four times of five: there is much to learn."""
    rng = np.random.default_rng(0)
    following = rng.integers(0, len(LETTERS), (len(LETTERS), len(LETTERS)))
    sequences = []
    for _ in range(count):
        chain = [*rng.integers(0, len(LETTERS), 2)]
        for _ in range(61):
            expected = following[chain[-2], chain[-1]]
            chain.append(expected if rng.random() < 0.8 else rng.integers(0, len(LETTERS)))
        sequences.append("".join(LETTERS[i] for i in chain))
    return pack_rows(sequences, 64)


def test_scales_are_those_of_the_table():
    shape = Shape(layers=2, hidden=128, ffn=341, heads=4)
    cell = cell_of("clm", shape, "prenorm", mup_base_width=32, mup_base_channels=8)
    assert scales_of(cell) == Scales(
        matrix_std=0.5, matrix_rate=0.25, matrix_decay=4.0, logits=0.25, queries=0.5
    )
    assert scales_of(dataclasses.replace(cell, mup_base_width=None)) == Scales()
    of_base = Shape(layers=2, hidden=32, ffn=85, heads=4)
    base = cell_of("clm", of_base, "prenorm", mup_base_width=32, mup_base_channels=8)
    assert scales_of(base) == Scales()


def test_matrices_of_layers_have_their_own_rate_and_the_same_decay_per_step():
    cell = cell_of("clm", Shape(1, 24, 40, 3), "prenorm", **MUP)
    with cpu_process(threads=1, seed=1):
        model = build_model(cell)
    optimizer = make_optimizer(model, cell)
    set_learning_rate(optimizer.param_groups, 0.01)
    of = {p: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    found = {name: of[p] for name, p in model.named_parameters()}
    assert len(found) == 10
    for name, (rate, decay) in found.items():
        if ".linear_" in name:
            assert (rate, decay) == (0.005, 2 * cell.weight_decay), name
        else:
            is_embedding = name == "embedding.word_embeddings.weight"
            assert (rate, decay) == (0.01, cell.weight_decay if is_embedding else 0.0), name


def test_initial_deviation_falls_with_the_root_of_the_width_but_in_embeddings():
    wide = cell_of("clm", Shape(2, 128, 341, 16), "prenorm", init_std=0.1)
    with cpu_process(threads=1, seed=1):
        before = dict(build_model(wide).named_parameters())
        scaled = dataclasses.replace(wide, mup_base_width=32, mup_base_channels=8)
        after = dict(build_model(scaled).named_parameters())
    for name, weight in before.items():
        factor = 0.5 if ".linear_" in name else 1.0
        torch.testing.assert_close(after[name], factor * weight, msg=name)


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_logits_with_mup_are_those_of_the_formulas(objective):
    cell = cell_of(objective, Shape(2, 24, 40, 3), "prenorm", init_std=0.3, **MUP)
    batch = batch_of(cell, chained_rows(1), 0)
    with cpu_process(threads=1, seed=1), torch.no_grad():
        model = build_model(cell)
        logits = model_logits(model, batch)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    expected = logits_of(weights, cell, batch.inputs[0])
    assert expected.std() > 0.1
    torch.testing.assert_close(logits[0], expected, rtol=1e-5, atol=1e-5)
    without = logits_of(weights, dataclasses.replace(cell, mup_base_width=None), batch.inputs[0])
    assert not torch.allclose(without, 2 * expected, atol=1e-3)  # the queries' factor counts, too


def activations(model, batch):
    """Logits, and what each layer and its attention give."""
    kept, hooks = {}, []
    for number, layer in enumerate(model.decoder.layers):
        attention = layer.self_attention.core_attention
        for name, module in ((f"attention {number}", attention), (f"layer {number}", layer)):

            def keep(module, inputs, output, name=name):
                kept[name] = output[0] if isinstance(output, tuple) else output

            hooks.append(module.register_forward_hook(keep))
    with torch.no_grad():
        kept["logits"] = model_logits(model, batch)
    for hook in hooks:
        hook.remove()
    return kept


def changes_of(cell, steps):
    """By how much (root of the mean square) `steps` training steps change each activation."""
    rows = chained_rows(ROWS * (steps + 1))
    with training_process(ONE, 1, 1) as process:
        engine = make_engine(cell, process)
        probe = batch_of(cell, rows[-ROWS:], 0)
        before = activations(engine.model, probe)
        for step in range(steps):
            batch = batch_of(cell, rows[ROWS * step : ROWS * (step + 1)], 0)
            engine.train_step([batch], 0.01)
        after = activations(engine.model, probe)
    return {n: float((after[n] - before[n]).square().mean().sqrt()) for n in before}


def over_widths(**options):
    """The changes in models of four widths, by activation; with heads of `channels` channels, or
    with four of them."""
    channels = options.pop("channels", None)
    found = [
        changes_of(cell_of_width(width, base=32, channels=channels or width // 4, **options), 4)
        for width in (32, 64, 128, 256)
    ]
    return {name: [of_width[name] for of_width in found] for name in found[0]}


@pytest.mark.parametrize("heads", [{"channels": 8}, {}])
def test_activations_change_alike_over_widths_with_mup(heads):
    for name, changes in over_widths(**heads).items():
        assert max(changes) < 2 * min(changes), name


def test_activations_change_more_in_wider_models_without_mup():
    changes = over_widths(mup=False, channels=8)
    for name in ("layer 0", "layer 1", "attention 0"):
        assert changes[name][-1] > 4 * changes[name][0], name


def held_out_loss(cell, steps):
    """Nats per token after a whole training of `steps` steps."""
    rows = chained_rows(ROWS * steps + 64)
    rate = cell.peak_learning_rate
    schedule = {"steps": steps, "warmup_steps": steps // 20, "final_learning_rate": rate / 10}
    cell = dataclasses.replace(cell, **schedule)
    with training_process(ONE, 1, 1) as process:
        engine = make_engine(cell, process)
        for step in range(steps):
            batch = batch_of(cell, rows[ROWS * step : ROWS * (step + 1)], 0)
            engine.train_step([batch], learning_rate(step + 1, cell))
        batch = batch_of(cell, rows[-64:], 0)
        with torch.no_grad():
            losses = model_losses(engine.model, batch) * batch.loss_mask
        return float(losses.sum() / batch.loss_mask.sum())


def losses_by_power(width, mup, powers, steps):
    """Held-out losses by peak learning rate, 2^power."""
    return {
        power: held_out_loss(cell_of_width(width, mup, peak_learning_rate=2.0**power), steps)
        for power in powers
    }


def test_rate_that_suits_the_base_width_suits_a_wider_model_with_mup_and_is_too_high_without():
    powers, steps = (-8, -6), 40
    base = losses_by_power(16, True, powers, steps)
    wide = losses_by_power(64, True, powers, steps)
    without = losses_by_power(64, False, powers, steps)
    assert base[-6] < base[-8] - 0.3
    assert wide[-6] < wide[-8] - 0.3
    assert without[-6] > without[-8] + 0.05


@pytest.mark.long
def test_best_learning_rate_over_widths():
    powers, steps, widths = range(-9, -2), 60, (16, 32, 64, 128)

    def best(width, mup):
        losses = losses_by_power(width, mup, powers, steps)
        return min(losses, key=losses.__getitem__)

    with_mup = [best(width, mup=True) for width in widths]
    without = [best(width, mup=False) for width in widths]
    assert max(with_mup) - min(with_mup) <= 1
    assert without[0] - without[-1] >= 2


def test_a_cell_of_the_base_width_trains_as_without_mup(root, tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    cell = small_cell(root, steps=10, evaluations=2, recipe="prenorm")
    base = {"mup_base_width": cell.hidden, "mup_base_channels": cell.hidden // cell.heads}
    scaled = dataclasses.replace(cell, **base)
    for one in (cell, scaled):
        run_cell(one, manifest, tmp_path)
    assert curve_of(cell, tmp_path).equals(curve_of(scaled, tmp_path))


def test_a_run_with_mup_that_is_stopped_and_resumed_equals_an_unbroken_one(root, tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    base = {"mup_base_width": 4, "mup_base_channels": 2}
    cell = small_cell(root, "mlm", 10, evaluations=5, recipe="prenorm", **base)
    run_cell(cell, manifest, tmp_path / "whole")
    with asked_to_stop(5), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path / "broken")
    run_cell(cell, manifest, tmp_path / "broken")
    assert curve_of(cell, tmp_path / "broken").equals(curve_of(cell, tmp_path / "whole"))
