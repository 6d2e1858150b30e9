"""A transformer as short as it can be written with PyTorch's own attention: the yardstick of
`training.py` and `memory.py`. One process, whole rows, no masks, tied embeddings."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import VOCABULARY_SIZE


class Attention(nn.Module):
    """Queries, keys and values from one product; rotary positions; SDPA."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        prenorm = cell.recipe == "prenorm"
        self.heads, self.causal = cell.heads, cell.objective == "clm"
        self.channels = cell.hidden // cell.heads
        self.qkv = nn.Linear(cell.hidden, 3 * cell.hidden, bias=not prenorm)
        self.out = nn.Linear(cell.hidden, cell.hidden, bias=not prenorm)
        self.q_norm = nn.RMSNorm(self.channels, 1e-5) if prenorm else nn.Identity()
        self.k_norm = nn.RMSNorm(self.channels, 1e-5) if prenorm else nn.Identity()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (rotated(norm(h), cos, sin) for norm, h in ((self.q_norm, q), (self.k_norm, k)))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(attended.transpose(1, 2).reshape(rows, length, width))


class Mlp(nn.Module):
    """GEGLU or SwiGLU."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        prenorm = cell.recipe == "prenorm"
        self.up = nn.Linear(cell.hidden, 2 * cell.ffn, bias=not prenorm)
        self.down = nn.Linear(cell.ffn, cell.hidden, bias=not prenorm)
        self.activation = functional.silu if prenorm else functional.gelu

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.up(x).chunk(2, -1)
        return self.down(self.activation(gate) * up)


class PlainTransformer(nn.Module):
    """Tokens [rows, length] to logits [rows, length, 128], by the recipe of a cell."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        norm = nn.RMSNorm if cell.recipe == "prenorm" else nn.LayerNorm
        self.embedding = nn.Embedding(VOCABULARY_SIZE, cell.hidden)
        self.norms = nn.ModuleList(norm(cell.hidden, 1e-5) for _ in range(2 * cell.layers))
        self.attention = nn.ModuleList(Attention(cell) for _ in range(cell.layers))
        self.mlp = nn.ModuleList(Mlp(cell) for _ in range(cell.layers))
        self.final_norm = norm(cell.hidden, 1e-5)
        self.alpha = None if cell.recipe == "prenorm" else math.sqrt(2 * cell.layers)
        channels = cell.hidden // cell.heads
        frequencies = 10_000.0 ** (-torch.arange(0, channels, 2) / channels)
        angles = torch.outer(torch.arange(cell.context_length), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=cell.init_std)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for i, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            for block, norm in ((attention, self.norms[2 * i]), (mlp, self.norms[2 * i + 1])):
                inner = norm(x)
                place = (self.cos, self.sin) if block is attention else ()
                residual = x if self.alpha is None else self.alpha * inner
                x = residual + block(inner, *place)
        return functional.linear(self.final_norm(x), self.embedding.weight)


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: the two halves of the channels rotated by the position's angle."""
    first, second = states.chunk(2, -1)
    return states * cos + torch.cat((-second, first), -1) * sin
