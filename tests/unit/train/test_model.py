"""The models: their size, their mathematics, and that nothing crosses the border of a sequence."""

import dataclasses
import math
import resource

import numpy as np
import pytest
import torch
from cell_fixtures import cell_of
from plain_models import logits_of
from torch.utils.flop_counter import FlopCounterMode

from plm_scaling.common.errors import TrainError
from plm_scaling.study.flops import exact_training_flops
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import STUDY_GRID, VOCABULARY_SIZE, Shape
from plm_scaling.tokens.format.vocabulary import EOD, PAD, PADDED_SIZE
from plm_scaling.train.data.batches import Batch, batch_of, causal_batch, masked_batch
from plm_scaling.train.data.masking import MASKINGS
from plm_scaling.train.distributed.process import cpu_process
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_logits, model_losses

SHAPE = Shape(layers=2, hidden=24, ffn=40, heads=3)
WIDTH = 32
RECIPES = ("study", "prenorm")
OBJECTIVES = ("clm", "mlm")
KINDS = [(recipe, objective) for recipe in RECIPES for objective in OBJECTIVES]


@pytest.fixture(autouse=True, scope="module")
def process():
    with cpu_process(threads=1, seed=3):
        yield


def cell(objective, recipe="study", shape=SHAPE, **changes):
    return cell_of(objective, shape, recipe, context_length=WIDTH, **{"init_std": 0.1} | changes)


def model_of(objective, recipe="study", shape=SHAPE, moved=True):
    """A model whose biases and norms are not what they begin with, so that they matter."""
    model = build_model(cell(objective, recipe, shape))
    if moved:
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def packed_rows():
    """Two rows: two sequences and padding; a whole row of one cut sequence."""
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 21, (2, WIDTH)).astype(np.uint8)
    rows[0, 11] = rows[0, 25] = EOD
    rows[0, 26:] = PAD
    return rows


def batch_for(objective, rows):
    return causal_batch(rows) if objective == "clm" else masked_batch(rows, 0, "token", 0.3, seed=5)


def with_changed(batch: Batch, row: int, column: int) -> Batch:
    inputs = batch.inputs.clone()
    inputs[row, column] = inputs[row, column] % 20 + 1
    return dataclasses.replace(batch, inputs=inputs)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_size_of_the_study_has_as_many_parameters_as_the_formula(recipe):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for size, shape in STUDY_GRID.items():
        model = build_model(cell_of("clm", shape, recipe), device="meta")
        counts = {name: p.numel() for name, p in model.named_parameters()}
        total = sum(counts.values())
        assert total == shape.n_params_total(recipe), size
        embedding = counts["embedding.word_embeddings.weight"]
        assert total - embedding == shape.n_params(recipe), size
        assert all(parameter.is_meta for parameter in model.parameters())
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 1 << 20  # the largest has 40 GiB of weights


def test_vocabulary_of_the_model_holds_that_of_the_shards():
    assert VOCABULARY_SIZE == PADDED_SIZE


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_logits_are_those_of_the_formulas(recipe, objective):
    model = model_of(objective, recipe)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    batch = batch_for(objective, packed_rows())
    logits = model_logits(model, batch)
    for row, begin, end in ((0, 0, 12), (0, 12, 26), (1, 0, WIDTH)):
        expected = logits_of(weights, cell(objective, recipe), batch.inputs[row, begin:end])
        torch.testing.assert_close(logits[row, begin:end], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_gradients_are_those_of_the_formulas(recipe, objective):
    model = model_of(objective, recipe)
    batch = batch_for(objective, packed_rows())
    (model_losses(model, batch)[1] * batch.loss_mask[1]).sum().backward()
    weights = {n: p.detach().requires_grad_() for n, p in model.named_parameters()}
    logits = logits_of(weights, cell(objective, recipe), batch.inputs[1])
    losses = torch.nn.functional.cross_entropy(logits, batch.labels[1], reduction="none")
    (losses * batch.loss_mask[1]).sum().backward()
    for name, parameter in model.named_parameters():
        expected = weights[name].grad
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_flops_of_a_step_are_what_torch_counts(objective):
    model = model_of(objective)
    rows = np.random.default_rng(1).integers(1, 21, (4, WIDTH)).astype(np.uint8)
    batch = batch_for(objective, rows)
    with FlopCounterMode(display=False) as counter:
        model_losses(model, batch).mean().backward()
    counted = counter.get_flop_counts()["Global"]
    attention = sum(n for op, n in counted.items() if "scaled_dot_product" in str(op))
    matrices = sum(counted.values()) - attention
    ours = exact_training_flops(SHAPE, rows.size, WIDTH, "mlm")
    our_attention = 3 * 4 * SHAPE.layers * SHAPE.hidden * WIDTH * rows.size
    # attention on the CPU is one kernel whose FLOPs torch does not count; matrices it does
    assert matrices == pytest.approx(ours - our_attention, rel=1e-12)


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_a_packed_neighbour_is_not_attended_to(recipe, objective):
    model = model_of(objective, recipe)
    batch = batch_for(objective, packed_rows())
    before = model_losses(model, batch)
    after = model_losses(model, with_changed(batch, 0, 3))
    assert not torch.equal(before[0, :12], after[0, :12])
    assert torch.equal(before[0, 12:], after[0, 12:])
    assert torch.equal(before[1], after[1])
    after = model_losses(model, with_changed(batch, 0, 14))
    assert torch.equal(before[0, :12], after[0, :12])
    assert not torch.equal(before[0, 12:26], after[0, 12:26])


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_no_gradient_comes_from_a_packed_neighbour(recipe, objective):
    model = model_of(objective, recipe)
    batch = batch_for(objective, packed_rows())
    rows = batch.inputs.clone()
    rows[0, :11] = 27  # a token that is only in the first sequence
    batch = dataclasses.replace(batch, inputs=rows)
    model_losses(model, batch)[0, 12:26].sum().backward()
    # Its row of the tied embedding has a gradient as a possible prediction, not as an input: the
    # same as that of a token that stands nowhere.
    with torch.no_grad():
        table = model.embedding.word_embeddings.weight
        table[26] = table[27]
    model.zero_grad()
    model_losses(model, batch)[0, 12:26].sum().backward()
    torch.testing.assert_close(table.grad[27], table.grad[26])


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_without_a_document_mask_a_row_is_seen_as_one_sequence(recipe, objective):
    model = model_of(objective, recipe)
    spec = cell(objective, recipe, document_mask=False)
    batch = batch_of(spec, packed_rows(), 0)
    assert torch.equal(
        batch.loss_mask, batch_of(cell(objective, recipe), packed_rows(), 0).loss_mask
    )
    weights = {name: value.detach() for name, value in model.named_parameters()}
    expected = logits_of(weights, spec, batch.inputs[0, :26])
    logits = model_logits(model, batch)
    torch.testing.assert_close(logits[0, :26], expected, rtol=1e-5, atol=1e-5)
    # Padding is not seen by it, and another row neither.
    changed = model_logits(model, with_changed(with_changed(batch, 0, 28), 1, 3))
    assert torch.equal(changed[0, :26], logits[0, :26])


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_positions_from_each_protein_change_results_by_rounding_only(recipe, objective):
    model = model_of(objective, recipe)
    row, protein = (
        batch_of(cell(objective, recipe, positions=positions), packed_rows(), 0)
        for positions in ("row", "protein")
    )
    found = protein.segments.positions[protein.segments.inverse].view(2, WIDTH)
    expected = [*range(12), *range(14), *range(6)], [*range(WIDTH)]
    assert found.tolist() == list(map(list, expected))
    losses = model_losses(model, row), model_losses(model, protein)
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    assert not torch.equal(*losses)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_of_a_single_protein_models_see_the_same_with_and_without_a_document_mask(objective):
    row = np.full((1, WIDTH), PAD, np.uint8)
    row[0, :20] = packed_rows()[1, :20]
    row[0, 20] = EOD
    model = model_of(objective)
    with_mask, without = (
        model_losses(model, batch_of(cell(objective, document_mask=mask), row, 0))
        for mask in (True, False)
    )
    assert torch.equal(with_mask, without)


@pytest.mark.parametrize("recipe", RECIPES)
def test_causal_model_does_not_see_later_tokens(recipe):
    model = model_of("clm", recipe)
    batch = causal_batch(packed_rows())
    before = model_losses(model, batch)
    after = model_losses(model, with_changed(batch, 1, 20))
    assert torch.equal(before[1, :20], after[1, :20])
    assert not torch.equal(before[1, 20:], after[1, 20:])


@pytest.mark.parametrize("recipe", RECIPES)
def test_masked_model_sees_both_sides(recipe):
    model = model_of("mlm", recipe)
    batch = batch_for("mlm", packed_rows())
    before = model_losses(model, batch)
    after = model_losses(model, with_changed(batch, 1, 20))
    assert not torch.equal(before[1, :20], after[1, :20])
    assert not torch.equal(before[1, 21:], after[1, 21:])


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_packed_sequence_has_the_loss_it_has_unpacked(recipe, objective):
    model = model_of(objective, recipe)
    rows = packed_rows()
    alone = np.full((1, WIDTH), PAD, np.uint8)
    alone[0, :14] = rows[0, 12:26]
    together, single = batch_for(objective, rows), batch_for(objective, alone)
    single.inputs[0, :14] = together.inputs[0, 12:26]
    torch.testing.assert_close(
        model_losses(model, together)[0, 12:26], model_losses(model, single)[0, :14]
    )


def test_model_takes_any_batch_of_rows():
    model = model_of("clm")
    rows = packed_rows()
    whole = model_losses(model, causal_batch(rows))
    for row in (0, 1):
        one = model_losses(model, causal_batch(rows[row : row + 1]))
        torch.testing.assert_close(one[0], whole[row])


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_weights_depend_only_on_the_seed_of_the_cell(recipe, objective):
    one = build_model(cell(objective, recipe)).state_dict()
    torch.rand(1)
    again = build_model(cell(objective, recipe)).state_dict()
    other = build_model(cell(objective, recipe, seed=2)).state_dict()
    for name, value in one.items():
        if value is not None:
            assert torch.equal(value, again[name]), name
    name = "decoder.layers.1.mlp.linear_fc2.weight"
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], one[name.replace("layers.1", "layers.0")])


@pytest.mark.parametrize("recipe", RECIPES)
def test_initial_weights_have_the_deviations_of_the_recipe(recipe):
    shape = Shape(layers=4, hidden=192, ffn=512, heads=3)
    model = build_model(cell_of("clm", shape, recipe, init_std=0.02))
    scaled = 0.02 * (2 * shape.layers) ** -0.5
    attention, mlp = model.decoder.layers[2].self_attention, model.decoder.layers[2].mlp
    qkv = attention.linear_qkv.weight.view(3, 3, 64, 192)
    deviations = {
        "embedding": (model.embedding.word_embeddings.weight, 0.02),
        "queries": (qkv[:, 0], 0.02),
        "keys": (qkv[:, 1], 0.02),
        "values": (qkv[:, 2], scaled if recipe == "study" else 0.02),
        "projection": (attention.linear_proj.weight, scaled),
        "fc1": (mlp.linear_fc1.weight, scaled if recipe == "study" else 0.02),
        "fc2": (mlp.linear_fc2.weight, scaled),
    }
    for name, (weight, expected) in deviations.items():
        assert float(weight.detach().std()) == pytest.approx(expected, rel=0.03), name
        assert abs(float(weight.detach().mean())) < 0.03 * expected, name
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert bool((parameter == float("norm.weight" in name)).all()), name


def test_initial_weights_of_the_study_are_xaviers_with_deepnorms_gain():
    shape = Shape(layers=4, hidden=192, ffn=400, heads=4)
    spec = cell_of("clm", shape, init_std=0.05, initialisation="study")
    model = build_model(spec)
    beta = (2 * shape.layers) ** -0.5
    attention, mlp = model.decoder.layers[2].self_attention, model.decoder.layers[2].mlp
    q, k, v = attention.linear_qkv.weight.chunk(3)  # of rows grouped by head: not q, k and v
    gate, up = mlp.linear_fc1.weight.chunk(2)
    deviations = {
        "embedding": (model.embedding.word_embeddings.weight, 0.05),
        "first third": (q, xavier(192, 192)),
        "second third": (k, xavier(192, 192)),
        "last third": (v, beta * xavier(192, 192)),
        "projection": (attention.linear_proj.weight, beta * xavier(192, 192)),
        "gate": (gate, beta * xavier(192, 400)),
        "up": (up, beta * xavier(192, 400)),
        "fc2": (mlp.linear_fc2.weight, beta * xavier(400, 192)),
    }
    for name, (weight, expected) in deviations.items():
        assert float(weight.detach().std()) == pytest.approx(expected, rel=0.02), name
    assert sum(weight.numel() for weight, _ in deviations.values()) == sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and (".2." in name or "embedding" in name)
    )


def xavier(inputs, outputs):
    """Deviation of Glorot and Bengio's normal initialisation."""
    return math.sqrt(2 / (inputs + outputs))


@pytest.mark.parametrize(
    ("ffn", "tensor", "width"), [(32, 1, 64), (2389, 1, 2432), (3555, 2, 1792)]
)
def test_an_mlp_on_gpus_is_padded_to_a_multiple_of_64_for_each_process(ffn, tensor, width):
    spec = cell("clm", shape=Shape(1, 24, ffn, 2))
    layout = Layout("cuda", tensor, 1, 1, 1, "none")
    assert layout.ffn(spec) == width
    assert dataclasses.replace(layout, backend="cpu").ffn(spec) == -(-ffn // tensor)


def test_heads_of_an_odd_number_of_channels_are_refused():
    with pytest.raises(TrainError, match="width 21 over 3 heads"):
        build_model(cell("clm", shape=Shape(1, 21, 32, 3)))


def test_precision_is_that_of_the_cell_on_cuda_and_float32_on_the_cpu():
    spec = cell("clm", precision="bf16")
    on_cuda = build_model(spec, Layout("cuda", 1, 1, 1, 4, "full"), device="meta")
    assert {p.dtype for p in on_cuda.parameters()} == {torch.bfloat16}
    assert on_cuda.config.recompute_granularity == "full"
    on_cpu = build_model(spec, Layout("cpu", 1, 1, 1, 4, "none"), device="meta")
    assert {p.dtype for p in on_cpu.parameters()} == {torch.float32}


def test_batch_of_a_cell_follows_its_objective_and_masking():
    rows = packed_rows()
    causal = batch_of(cell("clm"), rows, 5)
    assert torch.equal(causal.labels, causal_batch(rows).labels)
    for masking in MASKINGS:
        spec = cell("mlm", masking=masking, mask_ratio=0.4, seed=9)
        expected = masked_batch(rows, 5, masking, 0.4, seed=9)
        assert torch.equal(batch_of(spec, rows, 5).inputs, expected.inputs)
