"""The network of ProGen2 (Nijkamp et al. 2023, arXiv:2206.13517), with the names of its weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from plm_scaling.inference.models.progen2_description import PARTS

ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class Sizes:
    """`rotary` channels of each head are rotated; `inputs` and `outputs` are vocabularies."""

    layers: int
    heads: int
    hidden: int
    inner: int
    rotary: int
    inputs: int
    outputs: int
    norm_eps: float


class ProGen2(nn.Module):
    """Tokens [rows, width] to logits [rows, width, outputs]; each position sees those before it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        parts = {
            "wte": nn.Embedding(sizes.inputs, sizes.hidden),
            "h": nn.ModuleList(Block(sizes) for _ in range(sizes.layers)),
            "ln_f": nn.LayerNorm(sizes.hidden, eps=sizes.norm_eps),
        }
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(sizes.hidden, sizes.outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        *_, last = self.states(tokens)
        logits: Tensor = self.lm_head(last)
        return logits

    def states(self, tokens: Tensor) -> Iterator[Tensor]:
        """States [rows, width, hidden] of the embedding, of each layer but the last, and after the
        final norm."""
        blocks: Any = self.transformer["h"]
        states = self.transformer["wte"](tokens)
        for block in blocks:
            yield states
            states = block(states)
        yield self.transformer["ln_f"](states)


class Block(nn.Module):
    """x + Attention(LN(x)) + MLP(LN(x)), as in GPT-J, with GELU by tanh."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(sizes.hidden, eps=sizes.norm_eps)
        self.attn = Attention(sizes)
        linears = {
            "fc_in": nn.Linear(sizes.hidden, sizes.inner),
            "fc_out": nn.Linear(sizes.inner, sizes.hidden),
        }
        self.mlp = nn.ModuleDict(linears)

    def forward(self, states: Tensor) -> Tensor:
        normed = self.ln_1(states)
        inner = gelu(self.mlp["fc_in"](normed), approximate="tanh")
        result: Tensor = states + self.attn(normed) + self.mlp["fc_out"](inner)
        return result

    def weights(self, states: Tensor) -> Tensor:
        """Attention weights [rows, heads, width, width] of the block's input, fp32."""
        return self.attn.weights(self.ln_1(states))


class Attention(nn.Module):
    """softmax(q·kᵀ/√channels)·v, without biases."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads, self.rotary = sizes.heads, sizes.rotary
        self.qkv_proj = nn.Linear(sizes.hidden, 3 * sizes.hidden, bias=False)
        self.out_proj = nn.Linear(sizes.hidden, sizes.hidden, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        query, key, value = self._heads(states)
        attended = scaled_dot_product_attention(query, key, value, is_causal=True)
        output: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return output

    def weights(self, states: Tensor) -> Tensor:
        """The softmax alone."""
        query, key, _ = self._heads(states)
        scores = query.float() @ key.float().transpose(2, 3) / query.shape[-1] ** 0.5
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=states.device).triu(1)
        return scores.masked_fill(later, float("-inf")).softmax(-1)

    def _heads(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, rotated, and values [rows, heads, width, channels]."""
        rows, width, _ = states.shape
        # Each part has the queries, values and keys, in this order, of an eighth of the heads.
        parts = self.qkv_proj(states).view(rows, width, PARTS, 3, -1)
        query, value, key = (
            part.reshape(rows, width, self.heads, -1).transpose(1, 2) for part in parts.unbind(3)
        )
        return self._rotated(query), self._rotated(key), value

    def _rotated(self, states: Tensor) -> Tensor:
        """Pairs of neighbouring channels are rotated, of the first `rotary` channels."""
        width, device = states.shape[2], states.device
        exponents = torch.arange(0, self.rotary, 2, device=device) / self.rotary
        angles = torch.arange(width, device=device)[:, None] / ROTARY_BASE**exponents
        turning, rest = states[..., : self.rotary], states[..., self.rotary :]
        even, odd = turning[..., ::2], turning[..., 1::2]
        cos, sin = angles.cos(), angles.sin()
        turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
        return torch.cat((turned.flatten(-2), rest), dim=-1)
