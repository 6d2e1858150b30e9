"""Regression from attention maps to contacts, and the precision of what it finds."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.contacts.attention import attention_features, corrected
from plm_scaling.downstream.contacts.precision import METRICS, RANGES, Range, precision
from plm_scaling.downstream.contacts.regression import fit_contacts
from plm_scaling.downstream.contacts.structures import UNKNOWN
from plm_scaling.inference.models.windows import windows

LAYERS, HEADS = 3, 4


def chain(rng, length=60, share=0.03):
    """Contacts of a protein at random."""
    upper = np.triu(rng.random((length, length)) < share, 3)
    return (upper | upper.T).astype(np.int8)


def layers_of(rng, contacts, planted=0.0):
    """Attention maps at random; one head of layer 1 attends to contacts, by `planted`."""
    logits = rng.normal(size=(LAYERS, HEADS, *contacts.shape))
    logits[1, 2] += planted * contacts
    return softmax(logits, axis=-1).astype(np.float32)


def data(seed, proteins, planted=0.0, shuffle=False):
    rng = np.random.default_rng(seed)
    for _ in range(proteins):
        contacts = chain(rng)
        layers = layers_of(rng, contacts, planted)
        features = (corrected(torch.from_numpy(layer)).numpy() for layer in layers)
        yield features, chain(rng) if shuffle else contacts


def precisions(regression, proteins, pairs):
    found = [precision(regression.logits(x), contacts, pairs) for x, contacts in proteins]
    return np.array([[one.by_metric[name] for name in METRICS] for one in found]), [
        one.base for one in found
    ]


def test_planted_contacts_are_found_as_far_as_there_are_some():
    regression = fit_contacts(data(1, 8, planted=9), penalty=0.15, separation=6)
    sizes = [np.abs(weights).max() for weights in regression.weights]
    assert np.argmax(sizes) == 1
    assert np.argmax(regression.weights[1]) == 2
    for name in ("contacts_long", "contacts_study"):
        found, _ = precisions(regression, data(2, 6, planted=9), RANGES[name])
        possible, _ = [], None
        for _, contacts in data(2, 6, planted=9):
            best = precision(contacts.astype(np.float32), contacts, RANGES[name])
            possible.append([*best.by_metric.values()])
        assert found == pytest.approx(np.array(possible), abs=0.02)


def test_labels_that_maps_say_nothing_of_give_the_base_rate():
    regression = fit_contacts(data(1, 8, shuffle=True), penalty=1e4, separation=6)
    found, base = precisions(
        regression, data(2, 60, planted=9, shuffle=True), RANGES["contacts_study"]
    )
    error = found.std(0) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - np.mean(base)) < 4 * error).all()


def test_correction_is_symmetric_and_removes_rows_and_columns():
    maps = torch.rand(2, 9, 9, dtype=torch.float64)
    found = corrected(maps)
    assert torch.allclose(found, found.transpose(1, 2))
    assert torch.allclose(found.sum(2), torch.zeros(2, 9, dtype=torch.float64))
    apart = torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 6))[None]
    assert torch.allclose(corrected(apart), torch.zeros(1, 5, 5), atol=1e-5)
    assert (corrected(torch.zeros(1, 3, 3)) == 0).all()


class Numbered:
    """A model with a start token, whose attention at [i, j] is 100 i + j."""

    context_length = 16

    def tokens(self, chunk):
        return np.frombuffer(b"\1" + chunk[:-1], np.uint8)

    def windows(self, lengths):
        return windows(lengths, self.context_length, "mlm", start_token=True)

    def attentions(self, rows, sizes):
        width = rows.shape[1]
        place = torch.arange(width, dtype=torch.float32)
        yield (100 * place[:, None] + place)[None, None]


def test_features_are_those_of_the_residues_alone():
    (found,) = attention_features(Numbered(), "ACDEF")
    place = torch.arange(1.0, 6)
    expected = corrected((100 * place[:, None] + place)[None])
    assert found == pytest.approx(expected.numpy(), abs=1e-4)
    with pytest.raises(ValueError, match="more than one window"):
        list(attention_features(Numbered(), "A" * 16))


def test_unknown_pairs_are_neither_counted_nor_asked_for():
    contacts = np.zeros((20, 20), np.int8)
    contacts[0, 10] = contacts[10, 0] = 1
    contacts[5] = contacts[:, 5] = UNKNOWN
    scores = np.zeros((20, 20), np.float32)
    scores[5, 15] = 9  # unknown: not among the best
    scores[0, 10] = 5
    found = precision(scores, contacts, Range(6))
    pairs = np.triu_indices(20, 6)
    known = (contacts[pairs] != UNKNOWN).sum()
    assert found.base == pytest.approx(1 / known)
    assert found.by_metric["p_at_l5"] == pytest.approx(1 / 4)
    none = precision(scores, contacts, Range(24))
    assert none.base is None
    assert set(none.by_metric.values()) == {None}


def test_equal_scores_at_the_border_are_worth_what_chance_is():
    contacts = chain(np.random.default_rng(0), 40)
    scores = np.zeros((40, 40), np.float32)
    scores[0, 30] = 1
    contacts[0, 30] = 1
    row, column = np.triu_indices(40, 6)
    others = contacts[row, column].sum() - 1
    found = precision(scores, contacts, Range(6)).by_metric["p_at_l"]
    assert found == pytest.approx((1 + 39 * others / (len(row) - 1)) / 40)


def test_scores_that_are_all_the_same_have_no_precision():
    contacts = chain(np.random.default_rng(0), 40)
    found = precision(np.ones((40, 40), np.float32), contacts, Range(6))
    assert {*found.by_metric.values()} == {None}
    assert found.base == contacts[np.triu_indices(40, 6)].mean()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_proteins_without_contacts_or_without_others_cannot_be_fitted(share):
    rng = np.random.default_rng(0)
    contacts = chain(rng, 20, share)
    proteins = iter([(iter(layers_of(rng, contacts)), contacts)])
    with pytest.raises(DownstreamError, match="there must be some, and others"):
        fit_contacts(proteins, 0.15, 6)
