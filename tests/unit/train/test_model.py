"""The model: its size, its FLOPs, and that nothing crosses the border of a sequence."""

import numpy as np
import pytest
import torch
from cell_fixtures import cell_of
from torch.utils.flop_counter import FlopCounterMode

from plm_scaling.sweep.flops import exact_training_flops
from plm_scaling.sweep.ladder import VOCABULARY_SIZE, Shape
from plm_scaling.tokens.vocabulary import EOD, PAD, PADDED_SIZE
from plm_scaling.train.batches import causal_batch, masked_batch
from plm_scaling.train.losses import model_losses
from plm_scaling.train.model import build_model
from plm_scaling.train.process import cpu_process

SHAPE = Shape(layers=2, hidden=24, ffn=40, heads=3)
WIDTH = 32


@pytest.fixture(autouse=True)
def process():
    with cpu_process(threads=1, seed=3):
        yield


def model_of(objective, shape=SHAPE, recipe="study"):
    return build_model(cell_of(objective, shape, recipe, context_length=WIDTH, init_std=0.1))


def packed_rows():
    """Two rows: two sequences and padding; a whole row of one cut sequence."""
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 21, (2, WIDTH)).astype(np.uint8)
    rows[0, 11] = rows[0, 25] = EOD
    rows[0, 26:] = PAD
    return rows


def batch_of(objective, rows):
    return causal_batch(rows) if objective == "clm" else masked_batch(rows, 0, "token", 0.3, seed=5)


@pytest.mark.parametrize(
    "shape", [SHAPE, Shape(1, 16, 42, 1), Shape(3, 64, 170, 4)], ids=["a", "b", "c"]
)
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_model_has_as_many_parameters_as_the_formula(shape, objective):
    model = model_of(objective, shape)
    counts = {name: p.numel() for name, p in model.named_parameters()}
    assert sum(counts.values()) == shape.n_params_total("study")
    embedding = sum(n for name, n in counts.items() if "word_embeddings" in name)
    assert sum(counts.values()) - embedding == shape.n_params("study")


def test_vocabulary_of_the_model_holds_that_of_the_shards():
    assert VOCABULARY_SIZE == PADDED_SIZE


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_flops_of_a_step_are_what_torch_counts(objective):
    model = model_of(objective)
    rows = np.random.default_rng(1).integers(1, 21, (4, WIDTH)).astype(np.uint8)
    batch = batch_of(objective, rows)
    with FlopCounterMode(display=False) as counter:
        model_losses(model, batch).mean().backward()
    counted = counter.get_flop_counts()["Global"]
    attention = sum(n for op, n in counted.items() if "scaled_dot_product" in str(op))
    matrices = sum(counted.values()) - attention
    ours = exact_training_flops(SHAPE, rows.size, WIDTH, "mlm")
    our_attention = 3 * 4 * SHAPE.layers * SHAPE.hidden * WIDTH * rows.size
    # attention on the CPU is one kernel whose FLOPs torch does not count; matrices it does
    assert matrices == pytest.approx(ours - our_attention, rel=1e-12)


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_attention_does_not_see_a_packed_neighbour(objective):
    model = model_of(objective)
    rows = packed_rows()
    batch = batch_of(objective, rows)
    before = model_losses(model, batch)
    changed = batch.inputs.clone()
    changed[0, 3] = changed[0, 3] % 20 + 1  # in the first sequence
    after = model_losses(model, type(batch)(changed, *list(vars(batch).values())[1:]))
    assert not torch.equal(before[0, :12], after[0, :12])
    assert torch.equal(before[0, 12:], after[0, 12:])
    assert torch.equal(before[1], after[1])


def test_causal_model_does_not_see_what_follows():
    model = model_of("clm")
    batch = causal_batch(packed_rows())
    before = model_losses(model, batch)
    changed = batch.inputs.clone()
    changed[1, 20] = changed[1, 20] % 20 + 1
    after = model_losses(model, type(batch)(changed, *list(vars(batch).values())[1:]))
    assert torch.equal(before[1, :20], after[1, :20])
    assert not torch.equal(before[1, 20:], after[1, 20:])


def test_masked_model_sees_both_sides():
    model = model_of("mlm")
    batch = masked_batch(packed_rows(), 0, "token", 0.3, seed=5)
    before = model_losses(model, batch)
    changed = batch.inputs.clone()
    changed[1, 20] = changed[1, 20] % 20 + 1
    after = model_losses(model, type(batch)(changed, *list(vars(batch).values())[1:]))
    assert not torch.equal(before[1, :20], after[1, :20])
    assert not torch.equal(before[1, 21:], after[1, 21:])


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_packed_sequence_has_the_loss_it_has_alone(objective):
    model = model_of(objective)
    rows = packed_rows()
    alone = np.full((1, WIDTH), PAD, np.uint8)
    alone[0, :14] = rows[0, 12:26]
    if objective == "clm":
        together, single = causal_batch(rows), causal_batch(alone)
    else:
        together, single = (
            masked_batch(rows, 0, "token", 0.3, 5),
            masked_batch(alone, 0, "token", 0.3, 5),
        )
        single.inputs[0, :14] = together.inputs[0, 12:26]
    torch.testing.assert_close(
        model_losses(model, together)[0, 12:26], model_losses(model, single)[0, :14]
    )


def test_attention_is_that_of_an_explicit_document_mask():
    """SegmentAttention against softmax over a full score matrix with a mask."""
    from plm_scaling.train.attention import SegmentAttention

    rows = packed_rows()
    batch = causal_batch(rows)
    attention: SegmentAttention = model_of("clm").decoder.layers[0].self_attention.core_attention
    torch.manual_seed(0)
    q, k, v = torch.randn(3, WIDTH, 2, 3, 8)
    got = attention(q, k, v, batch.segments).view(WIDTH, 2, 3, 8)
    segment = np.zeros((2, WIDTH), int)
    segment[0, 12:26], segment[0, 26:] = 1, 2
    same = torch.from_numpy(segment[:, :, None] == segment[:, None, :])
    allowed = same & torch.ones(WIDTH, WIDTH).tril().bool()
    scores = torch.einsum("qbhd,kbhd->bhqk", q, k) / 8**0.5
    weights = scores.masked_fill(~allowed[:, None], float("-inf")).softmax(-1)
    torch.testing.assert_close(got, torch.einsum("bhqk,kbhd->qbhd", weights, v))
