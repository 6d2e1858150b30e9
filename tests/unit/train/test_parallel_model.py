"""A model divided over two processes is the same model."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
import torch
from cell_fixtures import MUP, cell_of
from cuda_shim import cuda_on_cpu
from forks import run_job
from padding import without_padding

from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.format.vocabulary import EOD, PAD
from plm_scaling.train.data.batches import batch_of
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_losses

SHAPE = Shape(layers=2, hidden=24, ffn=40, heads=2)
KINDS = [(recipe, objective) for recipe in ("study", "prenorm") for objective in ("clm", "mlm")]
ONE = Layout("cpu", 1, 1, 1, 4, "none")
TENSOR = Layout("cpu", 2, 1, 1, 4, "none")
# Sequence parallelism and recomputation, which are for CUDA; also the stages of a pipeline.
SEQUENCE = Layout("cuda", 2, 1, 1, 4, "full")
PIPELINE = Layout("cuda", 1, 2, 1, 4, "none")


def cell(recipe, objective):
    initialisation = "study" if (recipe, objective) == ("study", "mlm") else "normal"
    changes = {"context_length": 32, "init_std": 0.2, "initialisation": initialisation}
    scaled = MUP if (recipe, objective) == ("prenorm", "mlm") else {}
    return cell_of(objective, SHAPE, recipe, **changes, **scaled)


def rows():
    some = np.random.default_rng(0).integers(1, 21, (2, 32)).astype(np.uint8)
    some[0, 11] = some[0, 25] = EOD
    some[0, 26:] = PAD
    return some


def weights_of(model, layout, gradients=False):
    """This process's part of each weight by its name over all stages, with how it is cut."""
    found = {}
    for name, value in model.named_parameters():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(model.decoder.layers[int(parts[2])].layer_number)
        how = getattr(value, "partition_dim", -1), getattr(value, "partition_stride", 1)
        tensor = value.grad if gradients else value.detach().clone()
        tensor = without_padding(name, tensor, SHAPE.ffn // layout.tensor)
        found[".".join(parts)] = (tensor, *how)
    return found


def seen(layout):
    """Weights, losses, losses with a changed neighbour, and gradients of every kind of model."""
    results = {}
    with training_process(layout, 1, seed=3):
        for kind in KINDS:
            spec = cell(*kind)
            model = build_model(spec, layout)
            result = {"weights": weights_of(model, layout)}
            if layout.pipeline == 1:
                batch = batch_of(spec, rows(), 0)
                losses = model_losses(model, batch)
                (losses * batch.loss_mask).sum().backward()
                inputs = batch.inputs.clone()
                inputs[0, 3] = inputs[0, 3] % 20 + 1
                changed = model_losses(model, dataclasses.replace(batch, inputs=inputs))
                result["losses"], result["changed"] = losses.detach(), changed.detach()
                result["gradients"] = weights_of(model, layout, gradients=True)
            results[kind] = result
    return results


def on_cuda(layout):
    """`seen` by megatron-core's CUDA code, here on the CPU; its generators draw nothing."""
    state = "megatron.core.tensor_parallel.random._{}_cuda_rng_state"
    with (
        cuda_on_cpu(),
        mock.patch(state.format("get"), return_value=torch.get_rng_state()),
        mock.patch(state.format("set")),
    ):
        return seen(layout)


def joined(parts):
    """A whole tensor from what the processes hold of it."""
    values, (_, dimension, stride) = [part[0] for part in parts], parts[0]
    if dimension < 0:
        assert all(torch.equal(value, values[0]) for value in values)
        return values[0]
    pieces = [value.chunk(stride, dimension) for value in values]
    return torch.cat([p for step in zip(*pieces, strict=True) for p in step], dimension)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run_job(1, lambda: seen(ONE), tmp_path_factory.mktemp("one"))[0]


@pytest.fixture(scope="module", params=["tensor", "tensor and sequence"])
def halves(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    if request.param == "tensor":
        return run_job(2, lambda: seen(TENSOR), folder)
    return run_job(2, lambda: on_cuda(SEQUENCE), folder)


@pytest.mark.parametrize("kind", KINDS)
def test_two_tensor_parallel_halves_equal_the_whole_model(whole, halves, kind):
    expected = whole[kind]
    for name, (weight, *_) in expected["weights"].items():
        assert torch.equal(joined([half[kind]["weights"][name] for half in halves]), weight), name
    for half in halves:
        torch.testing.assert_close(half[kind]["losses"], expected["losses"], rtol=1e-5, atol=1e-5)
    for name, (gradient, dimension, _) in expected["gradients"].items():
        if dimension >= 0:  # others are summed over the processes by the engine
            parts = [half[kind]["gradients"][name] for half in halves]
            torch.testing.assert_close(joined(parts), gradient, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_neighbour_is_not_attended_to_by_a_parallel_model(halves, kind):
    for half in halves:
        before, after = half[kind]["losses"], half[kind]["changed"]
        assert not torch.equal(before[0, :12], after[0, :12])
        assert torch.equal(before[0, 12:], after[0, 12:])
        assert torch.equal(before[1], after[1])


def test_stages_of_a_pipeline_have_the_weights_of_the_whole_model(whole, tmp_path):
    stages = run_job(2, lambda: on_cuda(PIPELINE), tmp_path)
    for kind in KINDS:
        first, last = (stage[kind]["weights"] for stage in stages)
        expected = whole[kind]["weights"]
        tied = last.pop("output_layer.weight")
        assert torch.equal(tied[0], expected["embedding.word_embeddings.weight"][0])
        assert sorted([*first, *last]) == sorted(expected)
        for name, (weight, *_) in (first | last).items():
            assert torch.equal(weight, expected[name][0]), name
        assert "decoder.layers.2.mlp.linear_fc2.weight" in last
