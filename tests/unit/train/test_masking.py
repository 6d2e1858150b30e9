"""Masks: how many, where, of which kind, and that only seed and row decide."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plm_scaling.common.errors import TrainError
from plm_scaling.tokens.format.vocabulary import EOD, MASK, PAD, SOP
from plm_scaling.train.data.masking import MASKINGS

kinds = st.sampled_from(sorted(MASKINGS))
tokens = st.sampled_from([*range(1, 27), EOD, EOD, EOD, SOP])
rows = hnp.arrays(np.uint8, (3, 40), elements=tokens).map(lambda r: padded(r))


def padded(some):
    some = some.copy()
    some[1, 33:] = PAD
    some[1, 32] = EOD
    return some


def protein_rows(n_rows, width=256, mean_length=120):
    """Random residues, an eod about every `mean_length` tokens."""
    rng = np.random.default_rng(0)
    some = rng.integers(1, 21, (n_rows, width)).astype(np.uint8)
    some[rng.random(some.shape) < 1 / mean_length] = EOD
    return some


@given(kinds, rows, st.integers(0, 2**32), st.floats(0.05, 0.6), st.integers(0, 99))
def test_special_tokens_and_padding_are_never_masked_and_other_inputs_are_unchanged(
    kind, some, first, ratio, seed
):
    seen, chosen = MASKINGS[kind](some, first, ratio, seed)
    assert not np.isin(some[chosen], [EOD, PAD, SOP]).any()
    assert (seen[~chosen] == some[~chosen]).all()
    if kind not in ("study", "bert"):
        assert (seen[chosen] == MASK).all()


@settings(max_examples=30)
@given(kinds, rows, st.integers(0, 1000))
def test_masks_of_a_row_depend_only_on_its_index(kind, some, first):
    whole = MASKINGS[kind](some, first, 0.3, 7)
    for row in range(len(some)):
        one = MASKINGS[kind](some[row : row + 1], first + row, 0.3, 7)
        for together, single in zip(whole, one, strict=True):
            assert (together[row] == single[0]).all()


@pytest.mark.parametrize("kind", MASKINGS)
def test_masks_change_from_row_to_row_and_from_seed_to_seed(kind):
    some = np.ones((64, 256), np.uint8)
    _, chosen = MASKINGS[kind](some, 0, 0.15, 1)
    assert len(np.unique(chosen, axis=0)) == 64
    _, other = MASKINGS[kind](some, 0, 0.15, 2)
    _, later = MASKINGS[kind](some, 1, 0.15, 1)
    assert (other != chosen).any(axis=1).all()
    assert (later[:-1] == chosen[1:]).all()
    # Neighbouring rows agree no more than chance: 0.15² of the places.
    both = (chosen[1:] & chosen[:-1]).mean()
    assert both == pytest.approx(0.15**2, abs=0.01)


@pytest.mark.parametrize("ratio", [0.05, 0.15, 0.5])
@pytest.mark.parametrize("kind", MASKINGS)
def test_the_share_of_masked_residues_is_the_mask_ratio_at_every_position(kind, ratio):
    some = protein_rows(3000)
    _, chosen = MASKINGS[kind](some, 0, ratio, 3)
    maskable = some != EOD
    if kind == "study":  # whole numbers of each row, rounded down
        ratio = np.floor(ratio * maskable.sum(1)).sum() / maskable.sum()
    # Tokens of a span are not independent: its length stands for one draw.
    tolerance = 5 * np.sqrt(ratio * (1 - ratio) * (4 if kind == "span" else 1))
    assert abs(chosen[maskable].mean() - ratio) < tolerance / np.sqrt(maskable.sum())
    after_end = np.zeros_like(maskable)
    after_end[:, 1:] = some[:, :-1] == EOD
    after_end[:, 0] = True
    before_end = np.roll(some == EOD, -1, axis=1)
    before_end[:, -1] = True
    for place in (after_end & maskable, before_end & maskable):
        assert abs(chosen[place].mean() - ratio) < tolerance / np.sqrt(place.sum())


@given(rows, st.floats(0.01, 1), st.integers(0, 99))
def test_the_studys_masking_chooses_the_same_whole_number_of_each_row(some, ratio, seed):
    _, chosen = MASKINGS["study"](some, 0, ratio, seed)
    residues = np.isin(some, [EOD, PAD, SOP], invert=True).sum(1)
    assert chosen.sum(1).tolist() == [int(ratio * n) for n in residues]


def test_the_studys_masking_chooses_all_pairs_of_residues_alike():
    some = np.ones((20_000, 6), np.uint8)
    _, chosen = MASKINGS["study"](some, 0, 0.34, 8)
    numbers, counts = np.unique(chosen @ (1 << np.arange(6)), return_counts=True)
    assert len(numbers) == 15  # 6 over 2
    assert abs(counts / len(some) - 1 / 15).max() < 5 * np.sqrt(1 / 15 / len(some))


@pytest.mark.parametrize("kind", ["study", "bert"])
def test_bert_masks_most_replaces_some_and_keeps_some(kind):
    some = protein_rows(3000)
    seen, chosen = MASKINGS[kind](some, 0, 0.3, 4)
    was, now = some[chosen], seen[chosen]
    masked, random = now == MASK, (now != MASK) & (now != was)
    n = chosen.sum()
    # A random residue is the same as the one it replaces once in twenty.
    for share, expected in ((masked.mean(), 0.8), (random.mean(), 0.1 * 19 / 20)):
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
    counts = np.bincount(now[random], minlength=21)[1:21]
    assert counts.min() > 0.85 * counts.mean()
    assert counts.sum() == random.sum()  # nothing but the 20 residues


def runs(flags):
    """(value, length) of runs."""
    return [(value, len(list(group))) for value, group in itertools.groupby(flags)]


def test_spans_have_poisson_lengths_and_do_not_touch():
    some = np.ones((600, 1024), np.uint8)
    _, chosen = MASKINGS["span"](some, 0, 0.15, 5)
    lengths = np.array([n for row in chosen for value, n in runs(row)[1:-1] if value])
    # 3ᵏ/k!, k ≥ 1, over e³ − 1: what separate spans give and touching ones would not.
    expected = {1: 0.1572, 2: 0.2358, 3: 0.2358, 4: 0.1768, 5: 0.1061}
    for length, share in expected.items():
        error = 5 * np.sqrt(share * (1 - share) / len(lengths))
        assert abs((lengths == length).mean() - share) < error, length
    assert lengths.mean() == pytest.approx(3.157, abs=5 * 1.7 / np.sqrt(len(lengths)))


def test_a_span_does_not_continue_in_the_next_sequence():
    some = np.ones((4000, 24), np.uint8)
    some[:, 11] = EOD
    _, chosen = MASKINGS["span"](some, 0, 0.3, 6)
    before, after = chosen[:, 10], chosen[:, 12]
    # Independent: a span cut at the border says nothing of what follows it.
    both = (before & after).mean()
    assert abs(both - before.mean() * after.mean()) < 5 * np.sqrt(0.09 * 0.91 / len(some))


@settings(max_examples=10)
@given(st.floats(0.77, 0.99))
def test_spans_for_a_ratio_without_room_between_them_are_refused(ratio):
    with pytest.raises(TrainError, match=r"sweep\.mask_ratio.*lower it to less than 0\.76"):
        MASKINGS["span"](np.ones((1, 64), np.uint8), 0, ratio, 1)
