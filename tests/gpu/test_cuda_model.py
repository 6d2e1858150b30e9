"""The models on a GPU against the same on the CPU."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from cell_fixtures import cell_of
from padding import without_padding

from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.format.vocabulary import EOD, PAD
from plm_scaling.train.data.batches import batch_of
from plm_scaling.train.distributed.process import cpu_process
from plm_scaling.train.model.attention import grouped_attention, varlen_attention
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_losses
from plm_scaling.train.model.segments import Segments

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
KINDS = [(recipe, objective) for recipe in ("study", "prenorm") for objective in ("clm", "mlm")]
CUDA = Layout("cuda", 1, 1, 1, 4, "none")
LENGTH = 256


@pytest.fixture(autouse=True, scope="module")
def process():
    with cpu_process(threads=4, seed=3):
        torch.use_deterministic_algorithms(False)
        yield


@pytest.fixture(params=["local", "transformer_engine"])
def implementation(request, monkeypatch):
    """Both kinds of parts, whatever is installed."""
    if request.param == "transformer_engine":
        if importlib.util.find_spec("transformer_engine") is None:
            pytest.skip("no Transformer Engine")
    else:
        monkeypatch.setattr("plm_scaling.train.model.builder.implementation", lambda *_: "local")
    return request.param


def cell(recipe, objective, precision):
    shape = Shape(layers=3, hidden=128, ffn=344, heads=2)
    return cell_of(objective, shape, recipe, context_length=LENGTH, precision=precision)


def batch(spec):
    rows = np.random.default_rng(0).integers(1, 21, (4, LENGTH)).astype(np.uint8)
    rows[0, 11] = rows[0, 200] = rows[1, 99] = EOD
    rows[0, 201:] = PAD
    return batch_of(spec, rows, 0)


def losses_and_gradients(spec, layout):
    device = "cuda" if layout.backend == "cuda" else "cpu"
    model = build_model(spec, layout, device=device)
    some = batch(spec).to(device)
    losses = model_losses(model, some)
    ((losses * some.loss_mask).sum() / some.loss_mask.sum()).backward()
    gradients = {
        name: without_padding(name, p.grad.float().cpu(), spec.ffn)
        for name, p in model.named_parameters()
    }
    return losses.detach().cpu(), gradients


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 5e-2)])
@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_losses_and_gradients_are_those_of_the_cpu(
    implementation, recipe, objective, precision, tolerance
):
    if (implementation, precision) == ("transformer_engine", "fp32"):
        pytest.skip("its attention within packed sequences is for half precision")
    spec = cell(recipe, objective, precision)
    losses, gradients = losses_and_gradients(spec, CUDA)
    expected, of_cpu = losses_and_gradients(spec, Layout("cpu", 1, 1, 1, 4, "none"))
    torch.testing.assert_close(losses, expected, rtol=tolerance, atol=tolerance)
    assert sorted(gradients) == sorted(of_cpu)  # a checkpoint of one fits the other
    for name, gradient in gradients.items():
        error = (gradient - of_cpu[name]).norm() / of_cpu[name].norm()
        assert error < 3 * tolerance, name


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_a_packed_neighbour_is_not_attended_to(implementation, recipe, objective):
    spec = cell(recipe, objective, "bf16")
    model = build_model(spec, CUDA, device="cuda")
    some = batch(spec).to("cuda")
    before = model_losses(model, some)
    inputs = some.inputs.clone()
    inputs[0, 3] = inputs[0, 3] % 20 + 1
    after = model_losses(model, dataclasses.replace(some, inputs=inputs))
    assert not torch.equal(before[0, :12], after[0, :12])
    assert torch.equal(before[0, 12:], after[0, 12:])
    assert torch.equal(before[1:], after[1:])


@pytest.mark.parametrize(("recipe", "objective"), KINDS)
def test_recomputed_activations_give_the_same_gradients(implementation, recipe, objective):
    spec = cell(recipe, objective, "bf16")
    losses, gradients = losses_and_gradients(spec, CUDA)
    again, recomputed = losses_and_gradients(spec, dataclasses.replace(CUDA, recompute="full"))
    torch.testing.assert_close(again, losses)
    for name, gradient in gradients.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-2, atol=1e-4, msg=name)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("channels", [64, 136, 256])
def test_one_kernel_for_all_segments_is_attention_in_each(causal, channels):
    varlen = varlen_attention(causal)
    if varlen is None:
        pytest.skip("this PyTorch has no attention for segments of any length")
    found = Segments.of(np.array([0, 100, 128]), np.array([100, 28, 128]), 128).to("cuda")
    torch.manual_seed(0)
    whole = torch.randn(3, 256, 2, channels, device="cuda", dtype=torch.bfloat16)
    results = []
    for attend in (
        lambda q, k, v: varlen(q, k, v, *[found.edges] * 2, *[found.longest] * 2),
        lambda q, k, v: grouped_attention(q, k, v, found, causal),
    ):
        qkv = whole.clone().requires_grad_()
        out = attend(*qkv)
        out.square().sum().backward()
        results.append((out, qkv.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)
