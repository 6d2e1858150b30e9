"""Status and intervals of every law: what resamples do not support is not stated."""

import numpy as np
import pytest
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid
from test_repeated import BASE, study

from plm_scaling.laws import fit_frontier, fit_isoflop, fit_parametric, fit_repeated, read_law
from plm_scaling.laws.disagreement import disagreement
from plm_scaling.laws.result import Equation, LawResult, write_law
from plm_scaling.laws.stats.intervals import overlap, percentile_interval, place
from plm_scaling.laws.verdict import around

# three budgets of a surface with a = 0.538 and a noise of 0.006 nats: C, six N, six losses
WIDE = {
    1e19: (
        [1.179e8, 2.064e8, 3.613e8, 6.326e8, 1.107e9, 1.939e9],
        [2.018037, 1.972283, 1.981066, 1.975162, 1.985191, 2.005858],
    ),
    3e19: (
        [2.130e8, 3.729e8, 6.529e8, 1.143e9, 2.001e9, 3.503e9],
        [1.943946, 1.939455, 1.928069, 1.953208, 1.942444, 1.955089],
    ),
    1e20: (
        [4.074e8, 7.132e8, 1.248e9, 2.186e9, 3.826e9, 6.699e9],
        [1.909120, 1.894270, 1.885702, 1.889696, 1.901370, 1.910314],
    ),
}


def noisy(seed, noise=0.04, budgets=DEMO_BUDGETS):
    return isoflop_grid(Surface(), budgets, 5, noise=noise, seed=seed)


@pytest.mark.parametrize("seed", range(1, 6))
def test_exponent_that_runs_do_not_determine_is_not_identified_whatever_the_seed(seed):
    n, loss = (np.concatenate([rows[i] for rows in WIDE.values()]) for i in (0, 1))
    c = np.repeat(list(WIDE), 6)
    result = fit_isoflop(n, c / (6 * n), c, loss, seed=seed)
    low, high = result.equations["N"].interval["a"]
    assert high - low > 0.3
    assert result.status == "not_identified"
    assert any("do not determine the exponent" in w for w in result.warnings)


def test_half_of_the_samples_make_no_interval_and_more_do():
    samples = np.append(np.arange(50.0), np.full(50, np.nan))
    assert percentile_interval(samples, 0.9) is None
    assert percentile_interval(np.append(samples, 1.0), 0.9) is not None


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 40))]
)
def test_no_law_of_noisy_runs_has_an_interval_that_excludes_its_estimate(seed):
    n, d, c, loss = noisy(seed, noise=0.03)
    names = np.arange(len(n)).astype(str)
    laws = [
        fit_isoflop(n, d, c, loss, bootstrap=100),
        fit_parametric(n, d, loss, bootstrap=100),
        fit_frontier(names, n, d, c, loss, bootstrap=100),
        fit_repeated(*study(0.03, seed), base=BASE, bootstrap=100),
    ]
    for law in laws:
        assert list(excluding(law.to_json())) == []
        if any("exclude the estimate" in w for w in law.warnings):
            assert law.status == "not_identified"


def excluding(part, where=""):
    """Places in a law file where an interval excludes the number that it belongs to."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        pairs = []
        if key == "interval" and isinstance(value, dict):
            pairs = [(part[name], interval) for name, interval in value.items()]
        elif key == "interval":
            pairs = [(part["R_D"], value)]
        elif str(key).endswith("_interval"):
            name = key.removesuffix("_interval")
            pairs = [(part["gain_nats" if name == "gain" else name], value)]
        elif isinstance(value, dict | list):
            yield from excluding(value, f"{where}/{key}")
        for estimate, interval in pairs:
            if estimate is not None and interval is not None:
                low, high = interval
                if not (low is None or low <= estimate) or not (high is None or estimate <= high):
                    yield where, key, estimate, interval


def made(a=0.7, interval=(-0.45, 0.8), status="converged", law="isoflop", evidence=None, **details):
    equation = Equation("k*C^a", {"k": 1.0, "a": a}, {"k": (0.5, 2.0), "a": interval}, 0.95)
    details = {"bootstrap": {"resamples": 1000}, **details}
    return LawResult(law, "m", 9, {"N": equation}, 0.1, 0.1, [], details, evidence or {}, status)


def test_demo_exponent_above_its_interval_loses_it():
    law = made(0.699, (-0.452, 0.698))
    assert law.equations["N"].interval == {"k": (0.5, 2.0), "a": None}
    assert law.status == "not_identified"
    assert any("0.699" in w for w in law.warnings)


@pytest.mark.parametrize("law", ["isoflop", "parametric", "frontier", "joint"])
@pytest.mark.parametrize("status", ["converged", "two_points", "at_bound"])
def test_width_of_a_decides_the_status_of_every_law_with_that_exponent(law, status):
    assert made(0.7, (0.61, 0.8), status, law).status == status
    assert made(0.7, (0.5, 0.85), status, law).status == "not_identified"


def test_missing_interval_counts_only_where_resamples_were_drawn():
    assert made(interval=None).status == "not_identified"
    assert made(interval=None, bootstrap={"resamples": 0}).status == "converged"
    assert made(a=None, interval=None).status == "converged"  # the fit itself says why


@pytest.mark.parametrize(
    "part",
    [
        {"minima": [{"n_params": 5.0, "n_params_interval": [1.0, 4.0]}]},
        {"pairs": [{"gain_nats": 0.5, "gain_interval": [0.1, 0.4]}]},
        {"sizes": [{"R_D": 5.0, "interval": (6.0, None)}]},
        {"variants": [{"N": {"a": 0.7, "interval": {"a": [0.1, 0.6]}}}]},
        {"open_intervals": {"a": [None, 0.1]}},
    ],
)
def test_intervals_in_the_tables_of_a_law_are_held_to_the_same_rule(part):
    law = made(0.7, (0.6, 0.8), **part)
    assert law.status == "not_identified"
    assert len([w for w in law.warnings if "exclude the estimate" in w]) == 1
    assert "None" in str(law.details[next(iter(part))])


UNIT = {"unit": "nats", "what": "the error of the held-out loss"}


@pytest.mark.parametrize(
    ("evidence", "status"),
    [
        ({}, "converged"),
        ({"points": 3, "failed": 0.2}, "converged"),
        ({"failed": 0.21}, "not_identified"),
        ({"points": 2}, "two_points"),
        ({"points": 1}, "not_identified"),
        ({"points": 2, "at_bound": ["E is 0"]}, "at_bound"),
        ({"at_bound": ["E is 0"], "contradictions": ["another law differs"]}, "contradicted"),
        ({"contradictions": ["x"], "undetermined": ["A is 0"]}, "not_identified"),
        ({"held_out": {"value": 0.1, "allowed": 0.1, **UNIT}}, "converged"),
        ({"held_out": {"value": -0.14, "allowed": 0.02, **UNIT}}, "contradicted"),
        ({"misfit": {"value": 0.275, "allowed": 0.1, **UNIT}}, "not_identified"),
    ],
)
def test_each_fact_has_its_status_and_a_sentence_and_the_worst_counts(evidence, status):
    law = made(0.7, (0.61, 0.8), evidence=evidence)
    assert law.status == status
    for said in ("at_bound", "contradictions", "undetermined"):
        assert set(evidence.get(said, [])) <= set(law.warnings)
    if status == "contradicted" and "held_out" in evidence:
        assert "-0.14 nats, where 0.02 nats would agree" in law.warnings[0]


@pytest.mark.parametrize("a", [0.46, 0.53])
def test_laws_disagree_where_their_intervals_do_not_allow_the_difference(a):
    one, other = (
        made(a, (a - 0.03, a + 0.03)),
        made(0.99 - a, (0.96 - a, 1.02 - a), law="parametric"),
    )
    assert "0.070 from this one's" in disagreement(one, other)
    assert disagreement(one, made(0.99 - a, (0.9 - a, 1.08 - a), law="parametric")) == ""
    undetermined = made(0.99 - a, (0.96 - a, 1.02 - a), law="parametric", evidence={"points": 1})
    assert disagreement(one, undetermined) == ""


def test_judged_law_read_from_its_file_is_the_same(tmp_path):
    law = made(0.699, (-0.452, 0.698))
    law.study = law.version = "test"
    write_law(tmp_path / "clm.isoflop.json", law)
    assert read_law(tmp_path / "clm.isoflop.json").to_json() == law.to_json()


def test_rounding_moves_an_end_and_excludes_nothing():
    assert around(2.0, (2.0 + 1e-9, 3.0)) == (2.0, 3.0)
    assert around(-2.0, [-3.0, -2.0 - 1e-9]) == [-3.0, -2.0]
    assert around(2.0, (None, 1.9)) is None
    assert around(2.0, (1.0, None)) == (1.0, None)


@pytest.mark.parametrize(
    ("value", "interval", "where"),
    [
        (0.578, (0.58, 0.70), "at the lower end of"),
        (0.578, (0.576, 0.70), "at the lower end of"),
        (0.71, (0.58, 0.70), "at the upper end of"),
        (0.60, (0.58, 0.70), "inside"),
        (0.55, (0.58, 0.70), "below"),
        (0.75, (0.58, 0.70), "above"),
        (150.0, (1.0, 100.0), "at the upper end of"),  # near in the logarithm
        (0.0, (-0.45, 0.0009), "at the upper end of"),
        (0.0, (0.0, 0.0), "inside"),
        (2.1, (0.0, 0.0), "above"),
    ],
)
def test_place_is_in_or_out_only_where_no_seed_would_change_it(value, interval, where):
    assert place(value, interval) == where


def test_overlap_is_said_only_where_no_seed_would_change_it():
    assert overlap((0.5, 0.6), (0.55, 0.7)) == "overlaps with"
    assert overlap((0.5, 0.6), (0.605, 0.7)) == "touches"
    assert overlap((0.65, 0.7), (0.5, 0.6)) == "does not overlap with"
