"""A cache of keys and values for the models that this project trains.

megatron-core has inference contexts with such caches, but its attention, which fills them, is not
used in these layers (`plm_scaling.train.model.layers`) and needs CUDA. Nothing in the layers but
attention depends on other tokens than its own: for the time of decoding, another `core_attention`
takes its place, and the model's own code does the rest, whatever recipe, precision and kernels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from plm_scaling.train.model.builder import SequenceModel  # noqa: E402
from plm_scaling.train.model.functions import rotate  # noqa: E402
from plm_scaling.train.model.segments import rotary_table  # noqa: E402


@dataclass(frozen=True)
class Newest:
    """The newest tokens of some rows, in the order of rows: those from place `begin` of each to
    before `end`. It goes through the layers as `Segments` does in training. `branches` continue
    from the one row that is kept, each on its own, and are not kept themselves."""

    rows: int
    begin: int
    end: int
    context_length: int
    branches: bool = False


class CachedAttention(nn.Module):
    """`core_attention` of the newest tokens to all that came before in their rows.

    Keys and values lie in [2, rows, heads, width, channels], with room for `width` tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.kept: Tensor | None = None

    def forward(self, qkv: Tensor, newest: Newest) -> Tensor:
        """[tokens, heads, 3, channels] → [tokens, heads, channels]."""
        _, heads, _, channels = qkv.shape
        begin, end = newest.begin, newest.end
        table = rotary_table(newest.context_length, channels, qkv.dtype, qkv.device)
        cos, sin = table[begin:end].repeat(newest.rows, 1)[:, None, None].chunk(2, -1)
        rotated = rotate(qkv[:, :, :2], cos, sin, torch.empty_like(qkv[:, :, :2]))
        new = torch.stack((rotated[:, :, 1], qkv[:, :, 2])).unflatten(1, (newest.rows, -1))
        new = new.transpose(2, 3)
        query = rotated[:, :, 0].unflatten(0, (newest.rows, -1)).transpose(1, 2)
        if newest.branches:
            assert self.kept is not None, "a row to continue from"
            before = self.kept[:, :, :, :begin].expand(-1, newest.rows, -1, -1, -1)
            keys, values = torch.cat((before, new), 3)
            seen = torch.ones(end - begin, end, dtype=torch.bool, device=qkv.device).tril(begin)
            attended = scaled_dot_product_attention(query, keys, values, attn_mask=seen)
            return attended.transpose(1, 2).flatten(0, 1)
        if begin == 0 or self.kept is None:
            self.kept = qkv.new_empty(2, newest.rows, heads, self.width, channels)
        self.kept[:, :, :, begin:end] = new
        keys, values = self.kept[:, :, :, :end]
        # One new token sees all that is there; several are a prompt, with nothing before it.
        attended = scaled_dot_product_attention(query, keys, values, is_causal=end - begin > 1)
        return attended.transpose(1, 2).flatten(0, 1)


class Cached:
    """A decoder (see `decoder.Decoder`) of a model whose attention is `CachedAttention`."""

    def __init__(
        self,
        model: SequenceModel,
        attentions: list[CachedAttention],
        context_length: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.attentions = attentions
        self.context_length = context_length
        self.device = device
        self.length = 0

    def begin(self, rows: Tokens) -> Tensor:
        return self.read(rows)[:, -1]

    def next(self, tokens: Tokens) -> Tensor:
        return self._next(tokens[:, None])[:, -1]

    def read(self, rows: Tokens) -> Tensor:
        """Logits [rows, width, vocabulary] after each token of `rows` [rows, width]; what was there
        before is forgotten."""
        self.length = 0
        return self._next(rows)

    def branches(self, rows: Tokens, begin: int) -> Tensor:
        """Logits [rows, width, vocabulary] after each token of rows that are as the one that was
        read up to its token `begin`, and go on with `rows` [rows, width]. It stays the one."""
        count, width = rows.shape
        newest = Newest(count, begin, begin + width, self.context_length, branches=True)
        return self._pass(rows, newest)

    def keep(self, rows: Ints) -> None:
        for attention in self.attentions:
            assert attention.kept is not None
            attention.kept = attention.kept[:, torch.from_numpy(rows).to(self.device)]

    def _next(self, tokens: Tokens) -> Tensor:
        rows, size = tokens.shape
        newest = Newest(rows, self.length, self.length + size, self.context_length)
        self.length = newest.end
        return self._pass(tokens, newest)

    def _pass(self, tokens: Tokens, newest: Newest) -> Tensor:
        logits = self.model(torch.from_numpy(tokens.ravel()).to(self.device).long(), newest)
        return logits[:, 0].unflatten(0, tokens.shape)


@contextmanager
def cached(
    model: SequenceModel, context_length: int, width: int, device: torch.device
) -> Iterator[Cached]:
    """The model as a decoder with a cache of `width` tokens a row, at most its context's length."""
    layers = [layer.self_attention for layer in model.decoder.layers]
    own = [layer.core_attention for layer in layers]
    attentions = [CachedAttention(width) for _ in layers]
    for layer, attention in zip(layers, attentions, strict=True):
        layer.core_attention = attention
    try:
        yield Cached(model, attentions, context_length, device)
    finally:
        for layer, attention in zip(layers, own, strict=True):
            layer.core_attention = attention
