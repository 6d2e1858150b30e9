"""Pack whole sequences into rows of one length with very little padding.

A plan is made on the histogram of lengths, best fit in order of decreasing length, so that its
cost depends on the number of different lengths and not of sequences (the idea of Krell, Kosec,
Perez and Fitzgibbon 2021, arXiv:2107.02027). A row holds whole sequences, each followed by eod, and
then pad. A sequence longer than a row is cut: full rows of it without eod, and a remainder, which
ends in eod and is packed like a sequence. With a start token each sequence has sop in front, its
remainders and full rows after the first have none.

Nothing is copied sequence by sequence: the pieces are elements of an Arrow binary array laid over
the data where they are, and `take`, given the elements in the order of the rows, joins them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plm_scaling.tokens.format.vocabulary import EOD, PAD, SOP

BLOCK_BYTES = 1 << 20  # gathered and translated at a time: stays in the cache


class Pattern(NamedTuple):
    """`rows` rows that hold pieces of these lengths, from left to right."""

    lengths: tuple[int, ...]
    rows: int


class Rows(NamedTuple):
    """Bytes (n × row, followed by nothing or one byte more), and what each of the n rows holds."""

    data: pa.Buffer
    tokens: np.ndarray  # without padding
    sequences: np.ndarray  # that end in the row


def plan(histogram: np.ndarray) -> list[Pattern]:
    """Patterns that place `histogram[n]` pieces of n tokens each; a row has len(histogram) − 1."""
    row = len(histogram) - 1
    # By free tokens: lengths so far, and number of rows. Plain tuples, since this loop is a tenth
    # of all the work of packing.
    open_rows: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in range(row + 1)]
    spaces = 0  # bit n is set if rows with n free tokens are open; finds the tightest fit at once
    for length in range(row, 0, -1):
        left = int(histogram[length])
        while left:
            fitting = spaces >> length
            if not fitting:
                each = row // length
                full, last = divmod(left, each)
                for lengths, rows in (((length,) * each, full), ((length,) * last, 1)):
                    if rows and lengths:
                        free = row - len(lengths) * length
                        open_rows[free].append((lengths, rows))
                        spaces |= 1 << free
                break
            free = (fitting & -fitting).bit_length() - 1 + length
            lengths, rows = open_rows[free].pop()
            each = min(free // length, left)
            used = min(rows, left // each)
            if used < rows:
                open_rows[free].append((lengths, rows - used))
            elif not open_rows[free]:
                spaces ^= 1 << free
            free -= each * length
            open_rows[free].append((lengths + (length,) * each, used))
            spaces |= 1 << free
            left -= used * each
    return [Pattern(*pattern) for group in open_rows for pattern in group]


def pack(
    data: pa.Buffer,
    starts: np.ndarray,
    lengths: np.ndarray,
    row: int,
    pad_at: int,
    start_token: bool = False,
) -> Iterator[Rows]:
    """Rows that hold all sequences, about 1 MiB at a time.

    Sequence i is `data[starts[i] : starts[i] + lengths[i]]`, with the byte that ends it; `starts`
    ascend, and a sequence may come more than once. The byte at `pad_at`, behind all of them, fills
    up. Which of several pieces of one length goes where follows their order. With `start_token`
    such a byte also holds the place of each start token (`with_start_tokens`).
    """
    starts, sizes, is_last = cut(starts - start_token, lengths + start_token, row)
    elements, edges, tokens, sequences = _lay_out(sizes, is_last, row)
    begins = np.append(start_token, is_last[:-1] & start_token)  # one ends, the next begins
    pieces = _elements(data, starts + begins, starts + sizes, pad_at)
    if start_token:
        padding = np.int32(2 * len(starts))
        marked = np.flatnonzero(np.append(begins, False)[elements // 2])
        elements = np.insert(elements, marked, padding)
        edges = edges + np.searchsorted(marked, edges)
    block = max(2, BLOCK_BYTES // row // 2 * 2)
    for first in range(0, len(tokens), block):
        rows = slice(first, min(first + block, len(tokens)))
        chosen = elements[edges[rows.start] : edges[rows.stop]]
        if (rows.stop - rows.start) * row % 2:
            chosen = np.append(chosen, np.int32(2 * len(starts)))  # makes it even
        joined = pc.take(pieces, pa.array(chosen), boundscheck=False).buffers()[2]
        yield Rows(joined, tokens[rows], sequences[rows])


def with_start_tokens(rows: np.ndarray) -> np.ndarray:
    """Rows of tokens (n, row) in which sop replaces the padding that `pack` put in front of
    sequences: any that is not at the end of a row."""
    begins = np.zeros(rows.shape, bool)
    begins[:, :-1] = (rows[:, :-1] == PAD) & (rows[:, 1:] != PAD)
    return np.where(begins, np.uint8(SOP), rows)


def cut(starts: np.ndarray, lengths: np.ndarray, row: int) -> tuple[np.ndarray, ...]:
    """Starts and sizes of the pieces, full rows of long sequences and what remains, and whether
    they end a sequence."""
    if lengths.max(initial=0) <= row:
        return starts, lengths, np.ones(len(starts), bool)
    n_pieces = (lengths + row - 1) // row
    sequence = np.repeat(np.arange(len(lengths)), n_pieces)
    within = (np.arange(len(sequence)) - (np.cumsum(n_pieces) - n_pieces)[sequence]) * row
    left = lengths[sequence] - within
    return starts[sequence] + within, np.minimum(row, left), left <= row


def _lay_out(sizes: np.ndarray, is_last: np.ndarray, row: int) -> tuple[np.ndarray, ...]:
    """What is taken, row after row: element 2i is piece i, element 2n one byte of padding.

    Elements; edges, of which row r has elements edges[r] to edges[r + 1]; tokens and ends of
    sequences of each row. All of it is array arithmetic on runs of pieces of one size.
    """
    patterns = plan(np.bincount(sizes, minlength=row + 1))
    n_rows = np.array([pattern.rows for pattern in patterns], np.int64)
    n_pieces = np.array([len(pattern.lengths) for pattern in patterns], np.int64)
    # A slot is a place in a pattern; it is filled by as many pieces as the pattern has rows.
    slot_sizes = np.array([n for pattern in patterns for n in pattern.lengths], np.int64)
    slot_pattern = np.repeat(np.arange(len(patterns)), n_pieces)
    slot_place = np.arange(len(slot_sizes)) - (np.cumsum(n_pieces) - n_pieces)[slot_pattern]
    slot_rows = n_rows[slot_pattern]
    free = row - np.bincount(slot_pattern, slot_sizes, len(patterns)).astype(np.int64)
    width = n_pieces + free
    # Sorted by size, pieces and slots match one to one: the plan places every piece once.
    by_size = np.argsort(sizes.astype(np.min_scalar_type(row)), kind="stable")
    slots_by_size = np.argsort(slot_sizes, kind="stable")
    first_piece = np.empty_like(slot_rows)
    counts = slot_rows[slots_by_size]
    first_piece[slots_by_size] = np.cumsum(counts) - counts
    # For every piece its slot, and the how-manieth row of the pattern it is in.
    within = np.arange(len(sizes)) - np.repeat(np.cumsum(slot_rows) - slot_rows, slot_rows)
    piece = by_size[np.repeat(first_piece, slot_rows) + within]
    first_element = np.cumsum(width * n_rows) - width * n_rows
    place = np.repeat(first_element[slot_pattern] + slot_place, slot_rows)
    place += within * np.repeat(width[slot_pattern], slot_rows)
    first_row = np.cumsum(n_rows) - n_rows
    piece_row = np.repeat(first_row[slot_pattern], slot_rows) + within

    elements = np.full(int((width * n_rows).sum()), 2 * len(sizes), np.int32)
    elements[place] = 2 * piece
    edges = np.concatenate(([0], np.cumsum(np.repeat(width, n_rows))))
    sequences = np.bincount(piece_row[is_last[piece]], minlength=int(n_rows.sum()))
    return elements, edges, np.repeat(row - free, n_rows), sequences


def _elements(data: pa.Buffer, starts: np.ndarray, ends: np.ndarray, pad_at: int) -> pa.Array:
    """Piece, what lies between, piece, …, and the padding byte, as elements over the data.

    A sequence that comes twice makes what lies between negative; those elements are never taken.
    Offsets count from the first piece: `take` is a quarter faster with those of 32 bits.
    """
    origin = starts[0] if len(starts) else pad_at
    offsets = np.empty(2 * len(starts) + 2, np.int32)
    offsets[0:-2:2], offsets[1:-2:2] = starts - origin, ends - origin
    offsets[-2:] = pad_at - origin, pad_at + 1 - origin
    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), data.slice(origin)]
    )


def segment_bounds(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts in the flattened batch, and lengths with eod, of every segment, in order.

    eod ends a segment, so does the end of a row, and padding is none.
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
