"""Rows of one run are not independent: they are resampled together, or the intervals lie."""

import numpy as np
import pytest
from synthetic import Surface

from plm_scaling.common.errors import LawError
from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.stats.intervals import multiplicities

TEXT = Surface(E=1.7, A=60.0, alpha=0.30, B=280.0, beta=0.35)
QUICK = {"bootstrap": 200, "near_frontier_nats": None}


def checkpoints(seed=0, models=20, rows=15, between=0.01, within=0.003):
    """N, D, L and the run of each row: what is peculiar to a run lies in all its checkpoints."""
    rng = np.random.default_rng(seed)
    n = np.repeat(np.geomspace(2e7, 2e9, models), rows)
    d = n * np.tile(np.geomspace(5, 300, rows), models)
    luck = between * np.repeat(rng.standard_normal(models), rows)
    loss = TEXT.loss(n, d) + luck + within * rng.standard_normal(len(n))
    return n, d, loss, np.repeat([f"m{i}" for i in range(models)], rows)


def width(law):
    _, low, high = law.equations["N"].known("a")
    return high - low


def test_group_column_widens_the_interval_of_checkpoints():
    *table, run = checkpoints()
    grouped = fit_parametric(*table, group=run, **QUICK)
    rows = fit_parametric(*table, group=np.arange(len(run)), **QUICK)
    assert grouped.details["bootstrap"]["kind"] == "groups"
    assert grouped.details["bootstrap"]["units"] == 20
    assert rows.details["bootstrap"]["units"] == 300
    assert width(grouped) > 1.5 * width(rows)
    assert not any("guess" in warning for warning in grouped.warnings)


def test_rows_that_look_like_checkpoints_are_resampled_by_size_and_it_is_said():
    *table, run = checkpoints()
    order = np.random.default_rng(1).permutation(len(run))
    guessed = fit_parametric(*(x[order] for x in table), **QUICK)
    assert guessed.details["bootstrap"]["units"] == 20
    assert width(guessed) == pytest.approx(
        width(fit_parametric(*table, group=run, **QUICK)), rel=0.2
    )
    (said,) = (warning for warning in guessed.warnings if "guess" in warning)
    assert "checkpoints of 20 runs" in said
    assert "give a column group" in said


def test_sweeps_that_repeat_their_sizes_are_not_taken_for_checkpoints():
    rng = np.random.default_rng(2)
    n = np.repeat(np.geomspace(2e7, 2e9, 8), 7)
    budgets = np.tile(np.geomspace(1e18, 1e21, 7), 8) / (6 * n)
    dense = np.tile(np.geomspace(1e9, 2e10, 7), 8)
    for tokens in (budgets, dense):
        loss = TEXT.loss(n, tokens) * (1 + 0.003 * rng.standard_normal(len(n)))
        assert fit_parametric(n, tokens, loss, **QUICK).details["bootstrap"]["kind"] == "runs"
    # budgets a factor of three apart, sizes that differ by more than noise: still runs of their own
    luck = 0.01 * np.repeat(rng.standard_normal(8), 7)
    law = fit_parametric(n, budgets, TEXT.loss(n, budgets) + luck, **QUICK)
    assert law.details["bootstrap"]["kind"] == "runs"


@pytest.mark.parametrize("given", [True, False], ids=["column group", "guessed"])
@pytest.mark.parametrize(
    # the binomial error of 100 sets is 2.2 %, of 10 is 7 %
    ("sets", "lowest"),
    [(10, 0.8), pytest.param(100, 0.90, marks=pytest.mark.long)],
)
def test_intervals_of_checkpoints_cover_at_their_level(given, sets, lowest):
    hits = {"E": 0, "alpha": 0, "a": 0}
    for seed in range(sets):
        *table, run = checkpoints(seed)
        law = fit_parametric(*table, group=run if given else None, seed=seed, **QUICK)
        for name in hits:
            _, low, high = law.equations["N" if name == "a" else "L"].known(name)
            hits[name] += low <= getattr(TEXT, name) <= high
    assert min(hits.values()) >= lowest * sets


def test_few_groups_are_said_however_many_rows_they_have():
    *table, run = checkpoints(models=7)
    law = fit_parametric(*table, group=run, **QUICK)
    assert any("7 distinct groups for five parameters" in w for w in law.warnings)


def test_resamples_draw_whole_groups():
    group = np.array(["b", "a", "b", "c", "a"])
    drawn = multiplicities(5, 50, 1, group)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_group_of_another_length_is_refused_by_name():
    *table, run = checkpoints()
    with pytest.raises(LawError, match="group: shape"):
        fit_parametric(*table, group=run[1:])


def test_copies_in_arrays_are_said():
    n, d, loss, _ = checkpoints(models=30, rows=1)
    twice = (np.append(x, x[:3]) for x in (n, d, loss))
    assert any("3 of 33 rows repeat" in w for w in fit_parametric(*twice, **QUICK).warnings)


def test_three_checkpoints_of_each_run_are_enough_to_look_like_checkpoints():
    rng = np.random.default_rng(1)
    size = np.geomspace(2e7, 2e9, 16)
    n, most = np.repeat(size, 3), np.repeat(20 * size * np.exp(rng.uniform(-1, 2, 16)), 3)
    d = most * np.tile([0.25, 0.5, 1.0], 16)
    truth = 1.7 + 60 / n**0.30 + 280 / d**0.35
    luck = np.repeat(rng.standard_normal(16), 3)
    for between, guessed in ((0.01, True), (0.0, False)):
        loss = truth + between * luck + 0.001 * rng.standard_normal(48)
        law = fit_parametric(n, d, loss, bootstrap=200, near_frontier_nats=None)
        assert any("checkpoints of 16 runs" in w for w in law.warnings) == guessed
