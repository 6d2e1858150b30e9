"""How well predictions rank an assay's mutants, as ProteinGym measures it.

All take measured and predicted values [mutants], higher for fitter, and return None where the
metric is not defined: constant values, or one class only. Definitions: performance_DMS_benchmarks
of ProteinGym (Notin et al. 2023).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Values = NDArray[np.float64]
Classes = NDArray[np.bool_]
TOP = 10  # per cent


def spearman(target: Values, predicted: Values) -> float | None:
    """Spearman's rank correlation; equal values share their mean rank."""
    if _constant(target) or _constant(predicted):
        return None
    return float(np.corrcoef(rankdata(target), rankdata(predicted))[0, 1])


def auc(fit: Classes, predicted: Values) -> float | None:
    """Area under the ROC curve of the classes; 0.5 for random predictions."""
    n_fit, n = int(fit.sum()), len(fit)
    if n_fit in (0, n) or _constant(predicted):
        return None
    above = rankdata(predicted)[fit].sum() - n_fit * (n_fit + 1) / 2
    return float(above / (n_fit * (n - n_fit)))


def mcc(fit: Classes, predicted: Values) -> float | None:
    """Matthews correlation of the classes with predictions of at least their median."""
    called = predicted >= np.median(predicted)
    if _constant(fit) or _constant(called):
        return None
    return float(np.corrcoef(fit, called)[0, 1])


def ndcg(target: Values, predicted: Values) -> float | None:
    """Normalised discounted cumulative gain of the 10 % that are predicted best; the gain of a
    mutant is its measured value, scaled to 0…1."""
    if _constant(target) or _constant(predicted):
        return None
    kept = len(target) * TOP // 100
    if not kept:
        return None
    gains = (target - target.min()) / (target.max() - target.min())
    discount = 1 / np.log2(np.arange(kept) + 2)
    chosen = np.argsort(-predicted, kind="stable")[:kept]
    return float((gains[chosen] * discount).sum() / (np.sort(gains)[::-1][:kept] * discount).sum())


def top_recall(target: Values, predicted: Values) -> float | None:
    """Share of the mutants in the top 10 % by measurement that are in the top 10 % by prediction;
    0.1 for random predictions."""
    best = target > np.percentile(target, 100 - TOP)
    if _constant(predicted) or not best.any():
        return None
    return float((predicted[best] > np.percentile(predicted, 100 - TOP)).mean())


METRICS: dict[str, Callable[[Values, Classes, Values], float | None]] = {
    "spearman": lambda target, fit, predicted: spearman(target, predicted),
    "auc": lambda target, fit, predicted: auc(fit, predicted),
    "mcc": lambda target, fit, predicted: mcc(fit, predicted),
    "ndcg": lambda target, fit, predicted: ndcg(target, predicted),
    "top_recall": lambda target, fit, predicted: top_recall(target, predicted),
}


def _constant(values: NDArray[np.generic]) -> bool:
    return len(values) < 2 or bool((values == values[0]).all())
