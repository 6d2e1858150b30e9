"""Pack whole sequences into rows of one length with very little padding.

A plan is made on the histogram of lengths, best fit in order of decreasing length, so that its
cost depends on the number of different lengths and not of sequences (the idea of Krell, Kosec,
Perez and Fitzgibbon 2021, arXiv:2107.02027). A row holds whole sequences, each followed by eod, and
then pad. A sequence longer than a row is cut: full rows of it without eod, and a remainder, which
ends in eod and is packed like a sequence.
"""

from dataclasses import dataclass

import numpy as np

from plm_scaling.tokens.vocabulary import EOD, PAD


@dataclass(frozen=True)
class Pattern:
    """`count` rows that hold pieces of these lengths, from left to right."""

    lengths: tuple[int, ...]
    count: int


def plan(histogram: np.ndarray) -> list[Pattern]:
    """Patterns that place `histogram[n]` pieces of n tokens each; a row has len(histogram) − 1."""
    row = len(histogram) - 1
    open_rows: list[list[Pattern]] = [[] for _ in range(row + 1)]  # by free tokens
    spaces = 0  # bit n is set if rows with n free tokens are open; finds the tightest fit at once

    def put(pattern: Pattern, free: int) -> None:
        nonlocal spaces
        open_rows[free].append(pattern)
        spaces |= 1 << free

    for length in range(row, 0, -1):
        left = int(histogram[length])
        while left:
            fitting = spaces >> length << length
            if not fitting:
                each = row // length
                full, last = divmod(left, each)
                if full:
                    put(Pattern((length,) * each, full), row - each * length)
                if last:
                    put(Pattern((length,) * last, 1), row - last * length)
                break
            free = (fitting & -fitting).bit_length() - 1
            pattern = open_rows[free].pop()
            if not open_rows[free]:
                spaces &= ~(1 << free)
            each = min(free // length, left)
            used = min(pattern.count, left // each)
            put(Pattern(pattern.lengths + (length,) * each, used), free - each * length)
            if used < pattern.count:
                put(Pattern(pattern.lengths, pattern.count - used), free)
            left -= used * each
    return [pattern for group in open_rows for pattern in group]


def pack(tokens: np.ndarray, lengths: np.ndarray, row: int) -> np.ndarray:
    """Rows (n, `row`) of uint8 that hold sequences of these lengths (with eod), joined in `tokens`.

    Which of several pieces of one length goes where follows their order in the input.
    """
    starts, sizes = cut(lengths, row)
    patterns = plan(np.bincount(sizes, minlength=row + 1))
    rows = np.full((sum(pattern.count for pattern in patterns), row), PAD, np.uint8)
    order = np.argsort(sizes, kind="stable")
    taken = np.searchsorted(sizes[order], np.arange(row + 1))  # next unused piece of each length
    first = 0
    for pattern in patterns:
        last = first + pattern.count
        column = 0
        for size in pattern.lengths:
            chosen = starts[order[taken[size] : taken[size] + pattern.count]]
            taken[size] += pattern.count
            view = np.lib.stride_tricks.sliding_window_view(tokens, size)
            rows[first:last, column : column + size] = view[chosen]
            column += size
        first = last
    return rows


def cut(lengths: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and sizes of the pieces: full rows of long sequences, and what remains."""
    ends = np.cumsum(lengths)
    n_pieces = (lengths + row - 1) // row
    sequence = np.repeat(np.arange(len(lengths)), n_pieces)
    before = np.cumsum(n_pieces) - n_pieces
    within = np.arange(len(sequence)) - before[sequence]
    starts = (ends - lengths)[sequence] + within * row
    return starts, np.minimum(row, ends[sequence] - starts)


def segment_bounds(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts in the flattened batch, and lengths with eod, of every segment, in order.

    eod ends a segment, so does the end of a row, and padding is none. Attention kept within
    segments never crosses from one protein into another.
    """
    row = rows.shape[1]
    is_end = rows == EOD
    used = row_lengths(rows)
    nonempty = np.flatnonzero(used)
    is_end[nonempty, used[nonempty] - 1] = True
    ends = np.flatnonzero(is_end) + 1
    # A segment starts where the one before ends, unless that was in an earlier row.
    starts = np.maximum(np.concatenate(([0], ends[:-1]))[: len(ends)], (ends - 1) // row * row)
    return starts, ends - starts


def row_lengths(rows: np.ndarray) -> np.ndarray:
    """Tokens of each row that are no padding, which is only ever at its end."""
    return np.count_nonzero(rows != PAD, axis=1)
