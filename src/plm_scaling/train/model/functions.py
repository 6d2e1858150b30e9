"""Gradients written out for the CPU, where they save memory traffic, which is what a step costs
there besides matrix products: autograd would copy slices together and keep more intermediates.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from plm_scaling.train.model.segments import Segments

aten = torch.ops.aten


class GatedActivation(torch.autograd.Function):
    """act(gate)·up of [gate, up] in the last dimension; act is GELU (exact, by erf) or SiLU."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, activation: str) -> Tensor:
        """[…, 2·ffn] → […, ffn]."""
        gate, up = gate_up.chunk(2, -1)
        active = gelu(gate) if activation == "gelu" else silu(gate)
        ctx.save_for_backward(gate_up, active)
        ctx.activation = activation
        return active * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Gradient of `gate_up`."""
        gate_up, active = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        result = torch.empty_like(gate_up)
        of_gate, of_up = result.chunk(2, -1)
        torch.mul(gradient, active, out=of_up)
        backward = aten.gelu_backward if ctx.activation == "gelu" else aten.silu_backward
        backward.grad_input(gradient * up, gate, grad_input=of_gate)
        return result, None


class RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x²) + eps) · weight over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """[…, channels] → the same shape."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = (norm.square() / x.shape[-1] + eps).rsqrt()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of `x` and `weight`."""
        x, weight, scale = ctx.saved_tensors
        product = gradient * x
        inner = (product @ weight).unsqueeze(-1)
        of_weight = scale.flatten() @ product.reshape(-1, x.shape[-1])
        of_x = (gradient * weight).mul_(scale)
        of_x.addcmul_(x, scale.pow(3) * inner, value=-1.0 / x.shape[-1])
        return of_x, of_weight, None


class RotaryAttention(torch.autograd.Function):
    """Rotary positions and softmax(q·kᵀ/√channels)·v within each segment, by the CPU's flash
    attention kernel (softmax in float32).

    One node of the graph for all segments: with autograd's own, its bookkeeping takes longer than
    a small model's arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, segments: Segments, causal: bool) -> Tensor:
        """[tokens, heads, 3, channels] → [tokens, heads, channels]."""
        cos, sin = segments.rotary(qkv.shape[-1], qkv.dtype)
        rotated = rotate(qkv[:, :, :2], cos, sin, torch.empty_like(qkv[:, :, :2]))
        q, k, v = rotated[:, :, 0], rotated[:, :, 1], qkv[:, :, 2]
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        sums = []
        for group in _groups(segments, q, k, v, out):
            attended, log_sum = aten._scaled_dot_product_flash_attention_for_cpu(
                *group[:3], 0.0, causal
            )
            group[3].copy_(attended)
            sums.append(log_sum)
        ctx.save_for_backward(q, k, v, out, *sums)
        ctx.segments, ctx.causal = segments, causal
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of `qkv`."""
        q, k, v, out, *sums = ctx.saved_tensors
        segments = ctx.segments
        tokens, heads, channels = v.shape
        rotated = v.new_empty(tokens, heads, 2, channels)
        result = v.new_empty(tokens, heads, 3, channels)
        of = (rotated[:, :, 0], rotated[:, :, 1], result[:, :, 2])
        for log_sum, group in zip(
            sums, _groups(segments, gradient, q, k, v, out, *of), strict=True
        ):
            gradients = aten._scaled_dot_product_flash_attention_for_cpu_backward(
                *group[:5], log_sum, 0.0, ctx.causal
            )
            for place, values in zip(group[5:], gradients, strict=True):
                place.copy_(values)
        cos, sin = segments.rotary(channels, v.dtype)
        rotate(rotated, cos, sin, result[:, :, :2], backwards=True)
        return result, None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor, backwards: bool = False) -> Tensor:
    """Turn the pairs (i, i + channels/2) of the last dimension by their angles, into `out`."""
    half = x.shape[-1] // 2
    sign = 1 if backwards else -1
    torch.mul(x, cos, out=out)
    out[..., :half].addcmul_(x[..., half:], sin[..., half:], value=sign)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:], value=-sign)
    return out


def _groups(segments: Segments, *tensors: Tensor) -> list[list[Tensor]]:
    """Of [tokens, heads, channels] the views [segments, heads, length, channels] of each group."""
    sizes = [n * length for n, length in segments.groups]
    parts = [tensor.transpose(0, 1)[None].split(sizes, 2) for tensor in tensors]
    return [
        list(of_group)
        if n == 1
        else [part[0].unflatten(1, (n, length)).transpose(0, 1) for part in of_group]
        for (n, length), of_group in zip(segments.groups, zip(*parts, strict=True), strict=True)
    ]
