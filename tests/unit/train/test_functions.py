"""Gradients that are written out, and attention, against PyTorch's own on plain formulas."""

import numpy as np
import pytest
import torch
from plain_models import angles, turn
from torch.nn.functional import gelu, silu

from plm_scaling.train.model.attention import grouped_attention
from plm_scaling.train.model.functions import GatedActivation, RmsNorm, RotaryAttention
from plm_scaling.train.model.fused import _gated, apply_rotary
from plm_scaling.train.model.segments import Segments

HEADS, CHANNELS = 2, 6


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def same(ours, theirs, *inputs):
    """Assert that values and the gradients of `inputs` are the same."""
    weights = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    got = torch.autograd.grad((ours * weights).sum(), inputs)
    expected = torch.autograd.grad((theirs * weights).sum(), inputs, retain_graph=True)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "activation"), [("gelu", gelu), ("silu", silu)])
def test_gated_activation(name, activation):
    x = torch.randn(7, 1, 10, requires_grad=True)
    gate, up = x.chunk(2, -1)
    same(GatedActivation.apply(x, name), activation(gate) * up, x)
    same(_gated.plain(x, name), activation(gate) * up, x)


@pytest.mark.parametrize("shape", [(7, 1, 10), (7, 3, 10)])
def test_rms_norm(shape):
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(10, requires_grad=True)
    expected = x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * weight
    same(RmsNorm.apply(x, weight, 1e-5), expected, x, weight)


def segments():
    """Rows of 12 tokens: lengths 5, 3 and 4; 5 and 7; listed as 3, 4, 5, 5, 7."""
    starts, lengths = np.array([0, 5, 8, 12, 17]), np.array([5, 3, 4, 5, 7])
    return Segments.of(starts, lengths, 12), starts, lengths


def expected_attention(qkv, found, starts, lengths, causal):
    """Segment by segment in the rows' order, then listed as the segments are."""
    rows = qkv[found.inverse]
    out = torch.empty_like(rows[:, :, 0])
    for start, length in zip(starts, lengths, strict=True):
        q, k, v = rows[start : start + length].unbind(2)
        cos, sin = angles(12, CHANNELS)
        place = start % 12
        cos, sin = cos[place : place + length], sin[place : place + length]
        scores = torch.einsum("qhc,khc->hqk", turn(q, cos, sin), turn(k, cos, sin)) / CHANNELS**0.5
        if causal:
            scores = scores + torch.full_like(scores, float("-inf")).triu(1)
        out[start : start + length] = torch.einsum("hqk,khc->qhc", scores.softmax(-1), v)
    return out[found.order]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_computed_within_each_segment(causal):
    found, starts, lengths = segments()
    qkv = torch.randn(24, HEADS, 3, CHANNELS, requires_grad=True)
    expected = expected_attention(qkv, found, starts, lengths, causal)
    same(RotaryAttention.apply(qkv, found, causal), expected, qkv)
    # What CUDA takes where its kernel for all segments cannot be used.
    q, k, v = apply_rotary.plain(qkv, *found.rotary(CHANNELS, qkv.dtype))
    same(grouped_attention(q, k, v, found, causal), expected, qkv)


def test_segments_list_equal_lengths_together_with_their_edges():
    found, starts, lengths = segments()
    assert found.groups == ((1, 3), (1, 4), (2, 5), (1, 7))
    assert found.longest == 7
    assert found.edges.tolist() == [0, 3, 7, 12, 17, 24]
    assert found.edges.dtype == torch.int32  # as kernels for segments of any length want them
    begins = found.order[found.edges[:-1]].tolist()
    assert sorted(begins) == sorted(starts.tolist())
    of_start = dict(zip(starts.tolist(), lengths.tolist(), strict=True))
    assert [of_start[b] for b in begins] == np.diff(found.edges).tolist()
    assert (found.positions == found.order % 12).all()


def test_packed_values_come_back_with_their_gradient():
    found, *_ = segments()
    values = torch.randn(2, 12, requires_grad=True)
    listed = found.pack(values)
    assert not torch.equal(listed, values.flatten())
    back = found.unpack(listed, 2)
    assert torch.equal(back, values)
    weights = torch.randn(2, 12)
    (back * weights).sum().backward()
    assert torch.equal(values.grad, weights)
