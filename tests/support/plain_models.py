"""Both recipes from their formulas, on one sequence, to compare the real models with."""

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, silu


def logits_of(weights: dict[str, Tensor], cell, tokens: Tensor) -> Tensor:
    """Logits [tokens, vocabulary] of one sequence [tokens], the only one of its row."""
    return forward(weights, cell, tokens)[0]


def forward(weights: dict[str, Tensor], cell, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The same, and the attention weights [heads, tokens, tokens] of each layer."""
    layers, hidden, heads = cell.layers, cell.hidden, cell.heads
    channels = hidden // heads
    study = cell.recipe == "study"
    alpha = (2 * layers) ** 0.5
    wider = hidden / cell.mup_base_width if cell.mup_base_width else 1
    root = channels / cell.mup_base_channels**0.5 if cell.mup_base_width else channels**0.5
    cos, sin = angles(len(tokens), channels)
    maps = []

    def norm(x, name):
        if study:
            parameters = weights[f"{name}.weight"], weights[f"{name}.bias"]
            return layer_norm(x, x.shape[-1:], *parameters, 1e-5)
        return x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * weights[f"{name}.weight"]

    def linear(x, name):
        y = x @ weights[f"{name}.weight"].T
        return y + weights[f"{name}.bias"] if study else y

    def attention(x, layer):
        name = f"decoder.layers.{layer}.self_attention"
        qkv = linear(x, f"{name}.linear_qkv").view(-1, heads, 3, channels)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        if not study:
            q, k = norm(q, f"{name}.q_layernorm"), norm(k, f"{name}.k_layernorm")
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        scores = torch.einsum("qhc,khc->hqk", q, k) / root
        if cell.objective == "clm":
            scores = scores + torch.full_like(scores, float("-inf")).triu(1)
        maps.append(scores.softmax(-1))
        out = torch.einsum("hqk,khc->qhc", maps[-1], v).reshape(-1, hidden)
        return linear(out, f"{name}.linear_proj")

    def mlp(x, layer):
        name = f"decoder.layers.{layer}.mlp"
        gate, up = linear(x, f"{name}.linear_fc1").chunk(2, -1)
        return linear((gelu(gate) if study else silu(gate)) * up, f"{name}.linear_fc2")

    embedding = weights["embedding.word_embeddings.weight"]
    x = embedding[tokens]
    for layer in range(layers):
        first = norm(x, f"decoder.layers.{layer}.input_layernorm")
        y = (alpha * first if study else x) + attention(first, layer)
        second = norm(y, f"decoder.layers.{layer}.pre_mlp_layernorm")
        x = (alpha * second if study else y) + mlp(second, layer)
    return norm(x, "decoder.final_layernorm") @ embedding.T / wider, maps


def angles(length, channels):
    """Cosines and sines [length, 1, channels / 2] of position·10000^(−2i/channels)."""
    speeds = torch.tensor([10000.0 ** (-2 * i / channels) for i in range(channels // 2)])
    phase = (torch.arange(length)[:, None] * speeds)[:, None]
    return phase.cos(), phase.sin()


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
