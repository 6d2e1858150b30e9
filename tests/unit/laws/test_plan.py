"""The planner: what it answers follows from the law files, and it says how far to trust it."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from plm_scaling.errors import LawError, SweepError
from plm_scaling.laws.isoflop import fit_isoflop
from plm_scaling.laws.local_surface import local_surface
from plm_scaling.laws.plan import PUBLISHED_LAWS, nearest_shape, plan_training
from plm_scaling.laws.repeated import fit_repeated
from plm_scaling.laws.result import read_law, write_law
from plm_scaling.laws.text import plan_text
from plm_scaling.sweep.gpus import gpu_hours

TRUE = {"E": 1.8, "A": 480.0, "B": 2080.0, "alpha": 0.35, "beta": 0.37}
R_STAR = 6.0
BUDGETS = np.geomspace(1e18, 1e21, 7)


def loss_at(n, d, unique=math.inf):
    """Muennighoff et al. 2023, eq. 5, written out, with N' = N."""
    repeats = np.maximum(d / unique - 1, 0)
    worth = np.minimum(d, unique) * (1 + R_STAR * (1 - np.exp(-repeats / R_STAR)))
    return TRUE["E"] + TRUE["A"] / n ** TRUE["alpha"] + TRUE["B"] / worth ** TRUE["beta"]


def optimum(c, unique=math.inf):
    n = np.geomspace(1e5, 1e13, 200_001)
    loss = loss_at(n, c / (6 * n), unique)
    return n[loss.argmin()], loss.min()


@pytest.fixture(scope="module")
def laws(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laws")
    rng = np.random.default_rng(3)
    n = np.concatenate([optimum(c)[0] * np.geomspace(0.4, 2.5, 7) for c in BUDGETS])
    c = np.repeat(BUDGETS, 7)
    d = c / (6 * n)
    loss = loss_at(n, d) * (1 + 2e-4 * rng.standard_normal(len(n)))
    write(folder, "isoflop", fit_isoflop(n, d, c, loss, bootstrap=200))
    unique, epochs = 1e9, np.array([2.0, 4, 8, 16, 32])
    many = np.full(5, 1e8)
    repeated = loss_at(many, unique * epochs, unique)
    write(
        folder,
        "repeated",
        fit_repeated(many, unique * epochs, np.full(5, unique), repeated, base=TRUE, bootstrap=0),
    )
    return folder


def write(folder, law, result):
    result.objective, result.study, result.version = "clm", "test", "0"
    write_law(folder / f"clm.{law}.json", result)


@pytest.mark.parametrize("flops", [3e18, 4e19, 8e20])
def test_plan_is_the_optimum_of_the_surface_that_the_runs_came_from(laws, flops):
    plan = plan_training(flops, "clm", laws)
    n, loss = optimum(flops)
    assert plan.n_params[0] == pytest.approx(n, rel=0.05)
    assert plan.tokens[0] == pytest.approx(flops / (6 * plan.n_params[0]), rel=1e-6)
    assert plan.loss[0] == pytest.approx(loss, rel=2e-3)
    low, high = plan.n_params[1]
    assert low < plan.n_params[0] < high
    assert plan.warnings == []


def test_local_surface_has_the_exponents_of_the_surface_that_the_runs_came_from(laws):
    law = read_law(laws / "clm.isoflop.json")
    found = local_surface(law, 1e20, *optimum(1e20))
    assert found["alpha"] == pytest.approx(TRUE["alpha"], rel=0.15)
    assert found["beta"] == pytest.approx(TRUE["beta"], rel=0.15)


def test_local_surface_has_its_optimum_and_slope_where_the_law_has_them(laws):
    law = read_law(laws / "clm.isoflop.json")
    n_best, lowest = 3e8, 2.5
    found = local_surface(law, 1e20, n_best, lowest)
    n = n_best * np.geomspace(0.5, 2, 201)
    d = 1e20 / (6 * n)
    loss = found["E"] + found["A"] / n ** found["alpha"] + found["B"] / d ** found["beta"]
    assert n[loss.argmin()] == pytest.approx(n_best, rel=0.01)
    assert loss.min() == pytest.approx(lowest, abs=1e-9)


def test_local_surface_of_minima_that_rise_with_compute_is_refused(laws):
    law = read_law(laws / "clm.isoflop.json")
    for i, minimum in enumerate(law.details["minima"]):
        minimum["loss"] = 2.0 + 0.1 * i
    with pytest.raises(LawError, match="do not fall"):
        local_surface(law, 1e20, 3e8, 2.5)


@pytest.mark.parametrize("epochs_if_fresh", [3.0, 12.0])
def test_plan_with_too_few_unique_tokens_is_the_constrained_optimum(laws, epochs_if_fresh):
    flops = 1e20
    unique = flops / (6 * optimum(flops)[0]) / epochs_if_fresh
    plan = plan_training(flops, "clm", laws, unique_tokens=unique)
    n, loss = optimum(flops, unique)
    assert n > 1.05 * optimum(flops)[0]  # the case is one in which the constraint matters
    assert plan.n_params[0] == pytest.approx(n, rel=0.08)
    assert plan.loss[0] == pytest.approx(loss, rel=3e-3)
    assert plan.epochs == pytest.approx(plan.tokens[0] / unique)


def test_plan_with_enough_unique_tokens_is_the_plan_without(laws):
    fresh = plan_training(1e20, "clm", laws)
    plan = plan_training(1e20, "clm", laws, unique_tokens=2 * fresh.tokens[0])
    assert (plan.n_params, plan.loss) == (fresh.n_params, fresh.loss)
    assert plan.epochs == pytest.approx(0.5)


@pytest.mark.parametrize(("flops", "words"), [(1e23, "100 times above"), (1e16, "100 times below")])
def test_plan_beyond_the_runs_says_so_and_by_how_much(laws, flops, words):
    plan = plan_training(flops, "clm", laws)
    assert words in plan.warnings[0]


def test_plan_without_a_repeated_law_says_that_the_loss_is_of_fresh_tokens(laws, tmp_path):
    shutil.copy(laws / "clm.isoflop.json", tmp_path)
    plan = plan_training(1e20, "clm", tmp_path, unique_tokens=1e9)
    assert any("no law of repeated" in warning for warning in plan.warnings)


def test_plan_from_a_law_without_minima_is_refused(laws, tmp_path):
    law = json.loads((laws / "clm.isoflop.json").read_text()) | {"frontier": []}
    (tmp_path / "clm.isoflop.json").write_text(json.dumps(law))
    with pytest.raises(LawError, match="no frontier"):
        plan_training(1e20, "clm", tmp_path)


@pytest.mark.parametrize("flops", [0.0, -1.0, math.nan, math.inf])
def test_plan_refuses_compute_that_is_no_positive_number(laws, flops):
    with pytest.raises(LawError, match="flops"):
        plan_training(flops, "clm", laws)


def test_nearest_shape_is_nearest_in_the_logarithm():
    assert nearest_shape(1.2e9)[0] == "1.2B"
    assert nearest_shape(1e3)[0] == "3.5M"


def test_gpu_hours_are_flops_over_achieved_rate():
    assert gpu_hours(989e12 * 0.5 * 3600, "H100", 0.5) == pytest.approx(1.0)
    with pytest.raises(SweepError, match="H100"):
        gpu_hours(1e20, "H1000", 0.5)
    with pytest.raises(SweepError, match="utilisation"):
        gpu_hours(1e20, "H100", 40)


def test_shipped_laws_answer_at_once_and_import_nothing_heavy():
    code = (
        "import sys; from plm_scaling.laws.plan import plan_training;"
        "plan_training(1e21, 'mlm', unique_tokens=15.4e9);"
        "print([m for m in ('torch', 'megatron', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_shipped_laws_plan_within_the_published_range_of_sizes(objective):
    # paper.md §3.2: minima of the logs at 1e21 FLOPs lie between 886M and 1938M parameters
    plan = plan_training(1e21, objective)
    assert 0.8e9 < plan.n_params[0] < 2e9
    assert read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json").study == "published"
    assert f"{plan.n_params[0] / 1e9:.2f}G" in plan_text(plan)


def test_plan_for_mlm_says_how_to_split_between_objectives_and_what_is_not_known():
    plan = plan_training(1e21, "mlm")
    assert any("CLM first" in note and "not shown to be best" in note for note in plan.notes)
