"""Where the sequences of a batch lie, and the order in which the model reads their tokens."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plm_scaling.study.flops import mean_attended
from plm_scaling.tokens.format.vocabulary import EOD, PAD

ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class Segments:
    """The segments of a batch [rows, context_length], the shortest first.

    Nothing in a model but attention depends on where a token stands, so a batch goes through it as
    one list of tokens, in which segments of one length are neighbours: attention then needs no mask
    and no copies. `order` [tokens] says where each token of the list is in the batch (row-major),
    `inverse` where each token of the batch is in the list; `edges` [segments + 1], int32, are the
    places in the list where segments begin, and the end; `groups` holds (number of segments, their
    length in tokens) in the order of the list.
    """

    order: Tensor
    inverse: Tensor
    positions: Tensor
    edges: Tensor
    groups: tuple[tuple[int, int], ...]
    context_length: int
    _rotary: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of_rows(
        cls, rows: NDArray[np.uint8], document_mask: bool = True, positions: str = "row"
    ) -> "Segments":
        """The sequences of packed rows or, without `document_mask`, all of a row together; padding
        at the end of a row is a segment like any other, since attention covers every position.
        `positions` count from the beginning of the `row`, or of each segment (`protein`).
        """
        begins = np.ones(rows.shape, bool)
        before, here = rows[:, :-1], rows[:, 1:]
        begins[:, 1:] = ((before == EOD) & document_mask) | ((here == PAD) & (before != PAD))
        starts = np.flatnonzero(begins)
        segments = cls.of(starts, np.diff(starts, append=rows.size), rows.shape[1])
        if positions == "row":
            return segments
        edges = segments.edges.long()
        from_edge = torch.arange(rows.size) - edges[:-1].repeat_interleave(edges.diff())
        return replace(segments, positions=from_edge)

    @classmethod
    def of(
        cls, starts: NDArray[np.int64], lengths: NDArray[np.int64], context_length: int
    ) -> "Segments":
        """From the flat start and length of every segment; together they cover every position."""
        by_length = np.argsort(lengths, kind="stable")
        starts, lengths = starts[by_length], lengths[by_length]
        edges = np.concatenate(([0], np.cumsum(lengths)))
        order = np.arange(edges[-1]) + np.repeat(starts - edges[:-1], lengths)
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        last = np.flatnonzero(np.diff(lengths, append=0))  # of each length
        counts, sizes = np.diff(last, prepend=-1), lengths[last]
        return cls(
            torch.from_numpy(order),
            torch.from_numpy(inverse),
            torch.from_numpy(order % context_length),
            torch.from_numpy(edges.astype(np.int32)),
            tuple(zip(counts.tolist(), sizes.tolist(), strict=True)),
            context_length,
        )

    @property
    def longest(self) -> int:
        """Length of the longest segment in tokens."""
        return self.groups[-1][1]

    def pairs(self, objective: str) -> float:
        """Pairs of a token and one that it attends to."""
        return sum(n * length * mean_attended(length, objective) for n, length in self.groups)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Segments":
        """The segments on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Segments":
        """The segments in memory that a GPU reads by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Segments":
        names = ("order", "inverse", "positions", "edges")
        moved: dict[str, Any] = {name: move(getattr(self, name)) for name in names}
        return Segments(**moved, groups=self.groups, context_length=self.context_length)

    def pack(self, values: Tensor) -> Tensor:
        """[rows, context_length] as the list of tokens [tokens]."""
        return values.flatten()[self.order]

    def unpack(self, values: Tensor, rows: int) -> Tensor:
        """Values of the listed tokens, [tokens, …], as [rows, context_length, …]."""
        flat: Tensor = _Permute.apply(values, self.inverse, self.order)
        return flat.view(rows, -1, *values.shape[1:])

    def rotary(self, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine [tokens, 1, 1, channels] of the rotary angles, once for all layers."""
        if (channels, dtype) not in self._rotary:
            table = rotary_table(self.context_length, channels, dtype, self.positions.device)
            cos, sin = table[self.positions][:, None, None].chunk(2, -1)
            self._rotary[channels, dtype] = cos, sin
        return self._rotary[channels, dtype]


@lru_cache(maxsize=8)
def rotary_table(
    context_length: int, channels: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Cosines and, after them, sines of the rotary angles, [context_length, 2·channels].

    Channels i and i + channels/2 are rotated by position·10000^(−2i/channels) (Su et al. 2021,
    arXiv:2104.09864, with the two halves of a head as pairs).
    """
    speeds = ROTARY_BASE ** (-torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    angles = (torch.arange(context_length)[:, None] * speeds).repeat(1, 2)
    return torch.cat((angles.cos(), angles.sin()), 1).to(device, dtype)


class _Permute(torch.autograd.Function):
    """values[order], whose gradient is gathered by the inverse order: no scattering, no zeros."""

    @staticmethod
    def forward(ctx, values: Tensor, order: Tensor, inverse: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.inverse = inverse
        return values[order]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        return gradient[ctx.inverse], None, None
