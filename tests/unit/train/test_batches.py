"""What is predicted from what."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plm_scaling.tokens.format.vocabulary import EOD, MASK, PAD, SOP
from plm_scaling.train.data.batches import causal_batch, masked_batch
from plm_scaling.train.model.segments import Segments


def row(*tokens, width=10):
    return np.array([[*tokens, *[PAD] * (width - len(tokens))]], np.uint8)


def test_causal_labels_are_the_next_tokens_and_end_with_eod():
    batch = causal_batch(row(1, 2, 3, EOD, 4, 5, EOD))
    predicted = batch.loss_mask[0].bool()
    assert batch.inputs[0][predicted].tolist() == [1, 2, 3, 4, 5]
    assert batch.labels[0][predicted].tolist() == [2, 3, EOD, 5, EOD]


def test_causal_start_token_predicts_the_first_residue_and_is_not_predicted():
    batch = causal_batch(row(3, EOD, SOP, 4, 5, EOD, SOP, 6))
    predicted = batch.loss_mask[0].bool()
    assert batch.inputs[0][predicted].tolist() == [3, SOP, 4, 5, SOP]
    assert batch.labels[0][predicted].tolist() == [EOD, 4, 5, EOD, 6]


def test_causal_row_of_a_cut_sequence_predicts_all_but_its_end():
    batch = causal_batch(np.arange(1, 11, dtype=np.uint8)[None])
    assert batch.loss_mask[0].tolist() == [1] * 9 + [0]


rows = hnp.arrays(np.uint8, (3, 24), elements=st.integers(1, 26)).flatmap(
    lambda tokens: st.lists(st.integers(0, 71), max_size=12).map(
        lambda ends: with_ends(tokens, ends)
    )
)


def with_ends(tokens, ends):
    tokens = tokens.copy()
    tokens.reshape(-1)[ends] = EOD
    return tokens


@given(rows)
def test_causal_batch_predicts_each_token_of_a_segment_but_its_first(tokens):
    batch = causal_batch(tokens)
    n_ends = int((tokens == EOD)[:, :-1].sum())
    segments = n_ends + len(tokens)  # each eod before a row's end opens one more
    assert int(batch.loss_mask.sum()) == tokens.size - segments
    where = batch.loss_mask.bool()
    assert not (batch.inputs[where] == EOD).any()


@given(rows, st.integers(0, 5), st.floats(0.05, 0.9))
def test_masked_batch_hides_exactly_what_it_predicts(tokens, seed, ratio):
    batch = masked_batch(tokens, 7, "token", ratio, seed)
    chosen = batch.loss_mask.bool().numpy()
    assert (batch.inputs.numpy()[chosen] == MASK).all()
    assert (batch.inputs.numpy()[~chosen] == tokens[~chosen]).all()
    assert (batch.labels.numpy() == tokens).all()
    assert not (tokens[chosen] == EOD).any()


@given(rows, st.integers(0, 1000))
def test_masks_of_a_row_do_not_depend_on_its_batch(tokens, first):
    whole = masked_batch(tokens, first, "token", 0.3, 1)
    last = masked_batch(tokens[2:], first + 2, "token", 0.3, 1)
    assert (whole.inputs[2:] == last.inputs).all()


def test_mask_ratio_is_met_and_masks_change_from_row_to_row():
    tokens = np.ones((400, 256), np.uint8)
    chosen = masked_batch(tokens, 0, "token", 0.15, 1).loss_mask.numpy()
    assert abs(chosen.mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / tokens.size)
    assert not (chosen[0] == chosen[1]).all()


def test_pairs_are_those_of_a_token_and_one_that_it_attends_to():
    row = np.array([[1, 2, EOD, 3, EOD, 4, 5, 6]], np.uint8)
    segments = Segments.of_rows(row)  # of 3, 2 and 3 tokens
    assert segments.pairs("mlm") == 9 + 4 + 9
    assert segments.pairs("clm") == 6 + 3 + 6


@given(rows)
def test_segments_cover_every_position_once_and_invert(tokens):
    tokens[1, 20:] = PAD
    segments = causal_batch(tokens).segments
    assert sorted(segments.order.tolist()) == list(range(tokens.size))
    assert (segments.order[segments.inverse].numpy() == np.arange(tokens.size)).all()
    assert sum(n * size for n, size in segments.groups) == tokens.size
