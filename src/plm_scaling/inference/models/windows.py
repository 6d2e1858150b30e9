"""The rows in which sequences of any length are given to a model, and what of each row counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.tokens.format.vocabulary import PAD

# Rows times width of a forward pass. On a CPU what stays in the cache is half as fast again.
BATCH_TOKENS = {"cpu": 1 << 12, "cuda": 1 << 16}


@dataclass(frozen=True)
class Windows:
    """Windows of the sequences of a chunk; one row each.

    `sequence` each belongs to; `start` in the joined tokens and `size`, in tokens; the residues
    from `first` to before `last`, from the window's start, count, so that each counts once.
    `residues` are all that it holds, after `before` tokens that are none. `place` is that of the
    window's start among the residues of all sequences. `row_prefix` are tokens that begin each
    window, in front of those at `start`; they count in `size`, `first`, `last` and `before`.
    """

    sequence: Ints
    start: Ints
    size: Ints
    first: Ints
    last: Ints
    residues: Ints
    before: Ints
    place: Ints
    row_prefix: tuple[int, ...]

    def of_sequences(self, values: Ints) -> Ints:
        """Of each sequence the sum of the values of its windows."""
        return np.bincount(self.sequence, values).astype(np.int64)


def windows(
    lengths: Ints,
    context_length: int,
    objective: str,
    start_token: bool = False,
    row_prefix: tuple[int, ...] = (),
) -> Windows:
    """The windows in which sequences of `lengths` residues, each followed by a token for its end
    and, with `start_token`, after one, are read; `row_prefix` (tokens) begins every window.

    One that fits in the context is a window. A longer one is read in windows of the context's
    length that overlap by half; the last ends where the sequence does. For a `clm`, a residue
    counts in the first window that holds it: it is seen after at least half a context, or after
    all that precedes it. For an `mlm`, whose windows include the end, it counts in the window in
    which it is farther from the edge: at least a quarter of a context is on both sides, or all that
    there is.
    """
    masked = int(objective == "mlm")
    prefix = len(row_prefix)
    context_length -= prefix
    tokens = start_token + lengths + masked
    stride = context_length // 2
    beyond = np.maximum(tokens - context_length, 0)
    count = 1 + -(-beyond // stride)
    sequence = np.repeat(np.arange(len(lengths)), count)
    number = np.arange(len(sequence)) - (np.cumsum(count) - count)[sequence]
    offset = np.minimum(number * stride, beyond[sequence])
    # Where the one before ends to count and this one begins to, from the sequence's start.
    overlap_begin, overlap_end = offset, (number - 1) * stride + context_length
    border = (overlap_begin + overlap_end) // 2 if masked else overlap_end
    begin = np.where(number > 0, border, start_token)
    is_last = number == count[sequence] - 1
    end = np.where(is_last, start_token + lengths[sequence], np.roll(begin, -1))
    whole = start_token + lengths + 1
    starts = np.cumsum(whole) - whole
    residues = np.cumsum(lengths) - lengths
    before = np.where(number > 0, 0, int(start_token))
    size = np.minimum(tokens, context_length)[sequence]
    return Windows(
        sequence=sequence,
        start=starts[sequence] + offset,
        size=size + prefix,
        first=begin - offset + prefix,
        last=end - offset + prefix,
        residues=size - masked * is_last - before,
        before=before + prefix,
        place=residues[sequence] + offset - start_token - prefix,
        row_prefix=row_prefix,
    )


def batches(sizes: Ints, device: str) -> Iterator[Ints]:
    """Places of the rows that go together on a kind of device, by falling size: less padding."""
    order = np.argsort(-sizes, kind="stable")
    begin = 0
    while begin < len(order):
        rows = max(1, BATCH_TOKENS[device] // int(sizes[order[begin]]))
        yield order[begin : begin + rows]
        begin += rows


def window_rows(tokens: Tokens, pieces: Windows, some: Ints) -> Tokens:
    """Rows [len(some), widest] of some windows, from the joined tokens, filled up with pad (which
    in the alphabets of others is some token: models go by the sizes)."""
    prefix = len(pieces.row_prefix)
    width = int(pieces.size[some].max())
    column = np.arange(width)
    inside = (column >= prefix) & (column < pieces.size[some, None])
    rows = np.full(inside.shape, PAD, np.uint8)
    rows[:, :prefix] = pieces.row_prefix
    rows[inside] = tokens[(pieces.start[some, None] + column - prefix)[inside]]
    return rows


def counted(pieces: Windows, some: Ints, width: int) -> NDArray[np.bool_]:
    """Which residues of such rows count."""
    column = np.arange(width)
    return (column >= pieces.first[some, None]) & (column < pieces.last[some, None])
