"""Logistic regression from attention features to contacts, fitted on few proteins.

Rao et al. (2021): L1, C = 0.15, pairs at least 6 apart, 20 proteins; one weight a head.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.contacts.structures import CONTACT, UNKNOWN, Map
from plm_scaling.inference.arrays import Floats


@dataclass(frozen=True)
class ContactRegression:
    """`weights` by layer [heads], and `bias`."""

    weights: list[NDArray[np.float32]]
    bias: float

    def logits(self, features: Iterable[Floats]) -> NDArray[np.float32]:
        """Logits [residues, residues] from the features of the layers, one at a time."""
        total: NDArray[np.float32] | None = None
        for weights, layer in zip(self.weights, features, strict=True):
            part = np.tensordot(weights, layer, 1).astype(np.float32)
            total = part if total is None else total + part
        assert total is not None, "a model without layers"
        return total + np.float32(self.bias)


def fit_contacts(
    proteins: Iterator[tuple[Iterator[Floats], Map]], penalty: float, separation: int
) -> ContactRegression:
    """The regression on the known pairs at least `separation` apart of `proteins`, each the
    features of its layers and its contacts; `penalty` is C, the inverse of the strength.

    All these pairs are held at once: 20 proteins of 250 residues in a model of 480 heads are 1 GB.
    Raises `DownstreamError` if there is no contact among them, or nothing else.
    """
    found: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.bool_]] = []
    heads: list[int] = []
    for features, contacts in proteins:
        row, column = np.triu_indices(len(contacts), separation)
        known = contacts[row, column] != UNKNOWN
        row, column = row[known], column[known]
        layers = [layer[:, row, column] for layer in features]
        heads = [len(layer) for layer in layers]
        found.append(np.concatenate(layers).T)
        labels.append(contacts[row, column] == CONTACT)
    x, y = np.concatenate(found), np.concatenate(labels)
    if y.all() or not y.any():
        raise DownstreamError(
            f"{len(found)} proteins to fit contacts on have {y.sum()} contacts in {len(y)} known "
            f"pairs at least {separation} residues apart; there must be some, and others. Raise "
            "downstream.contacts.train, or give whole structures"
        )
    model = LogisticRegression(l1_ratio=1, C=penalty, solver="liblinear", random_state=0)
    model.fit(x, y)
    weights = np.split(model.coef_[0].astype(np.float32), np.cumsum(heads)[:-1])
    return ContactRegression(weights, float(model.intercept_[0]))
