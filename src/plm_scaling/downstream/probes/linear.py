"""Ridge and logistic regression, their strength chosen on validation items or by folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from plm_scaling.inference.arrays import Floats, Ints

Kind = Literal["ridge", "logistic"]
RIDGE_STRENGTHS = (1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
LOGISTIC_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C, the inverse
LEAST_VALID = 20  # fewer choose by luck: folds do then
FOLDS = 5
ITERATIONS = 500


@dataclass(frozen=True)
class Chosen:
    """The strength that did best on items that were not fitted to, and how well: the mean squared
    error below 0, or the accuracy."""

    strength: float
    quality: float


def choose(kind: Kind, x: Floats, y: NDArray[Any], valid: NDArray[np.bool_], seed: int) -> Chosen:
    """The best strength for items of features `x` [items, width] and targets or classes `y`.

    Those of `valid` judge what is fitted to the others; where they are fewer than `LEAST_VALID`,
    each of `FOLDS` parts of all judges what is fitted to the rest.
    """
    pairs: list[tuple[Ints, Ints]]
    if valid.sum() >= LEAST_VALID:
        pairs = [(np.flatnonzero(~valid), np.flatnonzero(valid))]
    else:
        # scikit-learn takes seeds of 32 bits.
        state = seed if seed < 1 << 32 else int(np.random.SeedSequence(seed).generate_state(1)[0])
        folds = KFold(min(FOLDS, len(y)), shuffle=True, random_state=state)
        pairs = list(folds.split(x))
    strengths = RIDGE_STRENGTHS if kind == "ridge" else LOGISTIC_STRENGTHS
    return max((_tried(kind, x, y, pairs, one) for one in strengths), key=lambda one: one.quality)


def _tried(
    kind: Kind, x: Floats, y: NDArray[Any], pairs: Sequence[tuple[Ints, Ints]], strength: float
) -> Chosen:
    found = []
    for train, judge in pairs:
        predicted = fit(kind, x[train], y[train], strength).predict(x[judge])
        good = -((predicted - y[judge]) ** 2) if kind == "ridge" else predicted == y[judge]
        found.append(good.astype(np.float64))
    return Chosen(strength, float(np.concatenate(found).mean()))


def fit(kind: Kind, x: Floats, y: NDArray[Any], strength: float) -> Any:
    """The model of scikit-learn, fitted to features that are brought to mean 0 and variance 1."""
    model = (
        Ridge(alpha=strength)
        if kind == "ridge"
        else LogisticRegression(C=strength, max_iter=ITERATIONS, tol=1e-3)
    )
    return make_pipeline(StandardScaler(), model).fit(x, y)
