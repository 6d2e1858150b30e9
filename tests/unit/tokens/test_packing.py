import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.tokens.format import packing
from plm_scaling.tokens.format.packing import (
    pack,
    plan,
    row_lengths,
    segment_bounds,
    with_start_tokens,
)
from plm_scaling.tokens.format.vocabulary import EOD, PAD, RESIDUE_ID, RESIDUES, SOP, TABLES

# A sequence, how often it comes, and whether something lies between it and the next one.
entries = st.lists(
    st.tuples(st.text(RESIDUES, min_size=1, max_size=90), st.integers(0, 3)),
    min_size=1,
    max_size=60,
).filter(lambda chosen: any(times for _, times in chosen))


def packed(
    chosen: list[tuple[str, int]], row: int, start_token: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of tokens, and the tokens and sequences that are counted for each."""
    data = b"".join(text.encode() + b"\n\0" for text, _ in chosen)
    sizes = np.array([len(text) for text, _ in chosen])
    times = [times for _, times in chosen]
    starts = np.repeat(np.cumsum(sizes + 2) - sizes - 2, times)
    lengths = np.repeat(sizes, times)
    where = (pa.py_buffer(data), starts, lengths + 1, row, len(data) - 1)
    blocks = list(pack(*where, start_token))
    tokens = [
        TABLES["protein"].translate(block.data)[: len(block.tokens) * row].reshape(-1, row)
        for block in blocks
    ]
    counted = [np.concatenate([block[i] for block in blocks]) for i in (1, 2)]
    rows = np.concatenate(tokens)
    return with_start_tokens(rows) if start_token else rows, counted[0], counted[1]


def reference(chosen: list[tuple[str, int]], row: int, start_token: bool) -> list[str]:
    """The same rows, piece by piece: pieces of one size fill the plan in their order."""
    waiting: dict[int, list[str]] = {}
    for text, times in chosen:
        for piece in expected_pieces(text, row, start_token) * times:
            waiting.setdefault(len(piece), []).append(piece)
    histogram = np.array([len(waiting.get(size, [])) for size in range(row + 1)])
    rows = []
    for pattern in plan(histogram):
        columns = [[waiting[size].pop(0) for _ in range(pattern.rows)] for size in pattern.lengths]
        rows += ["".join(pieces).ljust(row, "_") for pieces in zip(*columns, strict=True)]
    return rows


def expected_pieces(sequence: str, row: int, start_token: bool) -> list[str]:
    ended = "^" * start_token + sequence + "."
    return [ended[i : i + row] for i in range(0, len(ended), row)]


def letters(tokens: np.ndarray) -> str:
    return "".join(
        {EOD: ".", PAD: "_", SOP: "^"}.get(t) or RESIDUES[t - 1] for t in tokens.tolist()
    )


@settings(max_examples=200)
@given(entries, st.integers(2, 40), st.integers(1, 300), st.booleans())
def test_pack_any_sequences_make_the_rows_of_the_slow_reference(
    chosen: list[tuple[str, int]], row: int, block: int, start_token: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "BLOCK_BYTES", block)
        rows, tokens, sequences = packed(chosen, row, start_token)
    assert [letters(r) for r in rows] == reference(chosen, row, start_token)
    assert tokens.tolist() == row_lengths(rows).tolist()
    assert sequences.tolist() == np.count_nonzero(rows == EOD, axis=1).tolist()


@settings(max_examples=200)
@given(entries, st.integers(2, 40), st.booleans())
def test_pack_any_sequences_appear_once_and_whole(
    chosen: list[tuple[str, int]], row: int, start_token: bool
) -> None:
    rows, tokens, _ = packed(chosen, row, start_token)
    flat = rows.reshape(-1)
    starts, lengths = segment_bounds(rows)
    found = sorted(letters(flat[s : s + n]) for s, n in zip(starts, lengths, strict=True))
    expected = [
        p for text, times in chosen for p in expected_pieces(text, row, start_token) * times
    ]
    assert found == sorted(expected)
    assert (starts // row == (starts + lengths - 1) // row).all()
    assert (tokens > 0).all()
    assert (np.diff((rows == PAD).astype(int), axis=1) >= 0).all()  # padding ends its row


@settings(max_examples=100)
@given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_plan_any_histogram_is_placed_exactly(counts: list[int]) -> None:
    histogram = np.array([0, *counts])
    placed = np.zeros_like(histogram)
    for pattern in plan(histogram):
        assert sum(pattern.lengths) < len(histogram)
        for length in pattern.lengths:
            placed[length] += pattern.rows
    assert placed.tolist() == histogram.tolist()


def test_plan_fitting_pieces_leave_no_gap() -> None:
    histogram = np.zeros(101, int)
    histogram[[70, 30, 50, 25]] = [10, 10, 4, 8]
    assert sum(pattern.rows for pattern in plan(histogram)) == 10 + 2 + 2


@pytest.mark.parametrize(("row", "share"), [(256, 0.015), (512, 0.003), (1024, 0.003)])
def test_plan_protein_lengths_pad_little(row: int, share: float) -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.6, 0.7, 20_000).astype(int), 31, 2049)
    _, sizes, _ = packing.cut(np.zeros_like(lengths), lengths, row)
    n_rows = sum(pattern.rows for pattern in plan(np.bincount(sizes, minlength=row + 1)))
    assert n_rows * row - lengths.sum() < share * n_rows * row


def test_segment_bounds_rows_without_padding_or_tokens() -> None:
    a = RESIDUE_ID["A"]
    rows = np.array([[a, a, a], [a, EOD, PAD], [PAD, PAD, PAD], [EOD, a, EOD]], np.uint8)
    starts, lengths = segment_bounds(rows)
    assert starts.tolist() == [0, 3, 9, 10]
    assert lengths.tolist() == [3, 2, 1, 2]
