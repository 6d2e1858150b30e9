"""Metrics of rankings against their definitions, and what is not defined."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import matthews_corrcoef, ndcg_score, roc_auc_score

from plm_scaling.downstream.fitness.alignment import read_a2m, sequence_weights, site_independent
from plm_scaling.downstream.fitness.average import averages
from plm_scaling.downstream.fitness.metrics import METRICS, auc, mcc, ndcg, spearman, top_recall


@pytest.fixture
def assay():
    random = np.random.default_rng(1)
    target = random.normal(size=200).round(1)  # with equal values
    return target, target > 0.3, (target + random.normal(size=200)).round(1)


def test_as_others_compute_them(assay):
    target, fit, predicted = assay
    assert spearman(target, predicted) == pytest.approx(spearmanr(target, predicted)[0])
    assert auc(fit, predicted) == pytest.approx(roc_auc_score(fit, predicted))
    called = predicted >= np.median(predicted)
    assert mcc(fit, predicted) == pytest.approx(matthews_corrcoef(fit, called))


def test_ndcg_of_the_predicted_top_tenth(assay):
    target, _, _ = assay
    predicted = np.random.default_rng(2).permutation(len(target)).astype(float)  # all differ
    gains = (target - target.min()) / (target.max() - target.min())
    expected = ndcg_score([gains], [predicted], k=20)
    assert ndcg(target, predicted) == pytest.approx(expected)


def test_top_recall():
    target = np.arange(100.0)
    predicted = target.copy()
    predicted[[90, 10]] = predicted[[10, 90]]
    assert top_recall(target, predicted) == pytest.approx(0.9)


@pytest.mark.parametrize("metric", METRICS)
def test_constant_predictions_have_no_score(metric, assay):
    target, fit, _ = assay
    assert METRICS[metric](target, fit, np.full(200, 0.5)) is None


def test_one_class_has_no_score(assay):
    _, fit, predicted = assay
    assert auc(np.ones_like(fit), predicted) is None
    assert mcc(np.ones_like(fit), predicted) is None


def test_average_counts_neither_protein_nor_type_twice():
    found = averages(["p", "p", "q", "r"], ["a", "a", "a", "b"], [0.1, 0.3, 0.6, None], seed=1)
    assert found["a"].value == pytest.approx((0.2 + 0.6) / 2)
    assert found[""].value == found["a"].value  # b has no value, and is no 0
    assert found[""].n_assays == 3
    both = averages(["p", "q"], ["a", "b"], [0.2, 0.6], seed=1)
    assert both[""].value == pytest.approx(0.4)


def test_standard_error_is_over_proteins():
    random = np.random.default_rng(3)
    of_protein = random.normal(size=50)
    proteins = [f"p{i}" for i in range(50) for _ in range(4)]
    values = np.repeat(of_protein, 4)
    found = averages(proteins, ["a"] * 200, values, seed=1)[""]
    assert found.standard_error == pytest.approx(of_protein.std(ddof=1) / 50**0.5, rel=0.1)
    assert averages(["p", "p"], ["a", "a"], [0.1, 0.2], seed=1)[""].standard_error is None


def test_alignment_by_hand(tmp_path):
    path = tmp_path / "one.a2m"
    path.write_text(">wild/3-6\naC.DE\n>near\naC.DE\n>other\ncD-D-\n")
    columns, positions = read_a2m(path, "MMACDE")
    assert positions == [4, 5, 6]
    assert sequence_weights(columns).tolist() == [0.5, 0.5, 1]
    # Column 4: C weighs 1, D 1, each of 20 has 0.5 more.
    scores = site_independent(path, "MMACDE", [[("C", 4, "D")], [("C", 4, "W")], [("A", 3, "C")]])
    assert scores == [pytest.approx(0), pytest.approx(np.log(0.5 / 1.5)), None]
