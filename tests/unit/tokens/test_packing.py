import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.tokens.packing import pack, plan, row_lengths, segment_bounds
from plm_scaling.tokens.vocabulary import EOD, PAD, RESIDUE_ID, RESIDUES, decode, encode

proteins = st.lists(st.text(RESIDUES, min_size=1, max_size=90), min_size=1, max_size=60)


def as_input(sequences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    tokens = encode(b"".join(s.encode() + b"\n\0" for s in sequences))
    return np.frombuffer(tokens, np.uint8), np.array([len(s) + 1 for s in sequences])


def expected_pieces(sequence: str, row: int) -> list[str]:
    ended = sequence + "."
    return [ended[i : i + row] for i in range(0, len(ended), row)]


def letters(tokens: np.ndarray) -> str:
    return "".join("." if t == EOD else RESIDUES[t - 1] for t in tokens)


@settings(max_examples=200, deadline=None)
@given(sequences=proteins, row=st.integers(2, 40))
def test_pack_any_sequences_come_out_once_and_whole(sequences: list[str], row: int) -> None:
    rows = pack(*as_input(sequences), row)
    flat = rows.reshape(-1)
    starts, lengths = segment_bounds(rows)
    found = sorted(letters(flat[s : s + n]) for s, n in zip(starts, lengths, strict=True))
    assert found == sorted(piece for s in sequences for piece in expected_pieces(s, row))
    assert (starts // row == (starts + lengths - 1) // row).all()
    assert lengths.sum() == np.count_nonzero(rows != PAD) == row_lengths(rows).sum()
    assert np.count_nonzero(rows == EOD) == len(sequences)
    assert (row_lengths(rows) > 0).all()


@settings(max_examples=200, deadline=None)
@given(sequences=proteins, row=st.integers(2, 40))
def test_pack_padding_is_only_at_the_end_of_rows(sequences: list[str], row: int) -> None:
    rows = pack(*as_input(sequences), row)
    is_pad = rows == PAD
    assert (np.diff(is_pad.astype(int), axis=1) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_plan_any_histogram_is_placed_exactly(counts: list[int]) -> None:
    histogram = np.array([0, *counts])
    placed = np.zeros_like(histogram)
    for pattern in plan(histogram):
        assert sum(pattern.lengths) < len(histogram)
        for length in pattern.lengths:
            placed[length] += pattern.count
    assert placed.tolist() == histogram.tolist()


def test_plan_fitting_pieces_leave_no_gap() -> None:
    histogram = np.zeros(101, int)
    histogram[[70, 30, 50, 25]] = [10, 10, 4, 8]
    assert sum(pattern.count for pattern in plan(histogram)) == 10 + 2 + 2


@pytest.mark.parametrize(("row", "share"), [(256, 0.015), (512, 0.003), (1024, 0.003)])
def test_pack_protein_lengths_pad_little(row: int, share: float) -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.6, 0.7, 20_000).astype(int), 31, 2049)
    tokens = np.full(lengths.sum(), 1, np.uint8)
    tokens[np.cumsum(lengths) - 1] = EOD
    rows = pack(tokens, lengths, row)
    assert np.count_nonzero(rows == PAD) < share * rows.size


def test_segment_bounds_rows_without_padding_or_tokens() -> None:
    a = RESIDUE_ID["A"]
    rows = np.array([[a, a, a], [a, EOD, PAD], [PAD, PAD, PAD], [EOD, a, EOD]], np.uint8)
    starts, lengths = segment_bounds(rows)
    assert starts.tolist() == [0, 3, 9, 10]
    assert lengths.tolist() == [3, 2, 1, 2]


@given(sequence=st.text(RESIDUES, min_size=1))
def test_vocabulary_residues_survive_a_round_trip(sequence: str) -> None:
    assert decode(encode(sequence.encode() + b"\n\0")[:-1]) == sequence


@pytest.mark.parametrize("letter", [b"a", b"*", b"-", b"\r"])
def test_vocabulary_what_is_no_residue_is_unknown(letter: bytes) -> None:
    assert encode(letter) == bytes([35])
