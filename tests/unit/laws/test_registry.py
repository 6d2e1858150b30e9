"""A law is declared once: an entry and its module are all that it takes."""

import sys
from importlib import import_module
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from plm_scaling.config.schema import Laws
from plm_scaling.figures import run_figures
from plm_scaling.laws import law_module, points
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.mask_ratio.parabola import MIN_RATIOS
from plm_scaling.laws.result import Equation, LawResult, read_law
from plm_scaling.laws.schema import law_schema
from plm_scaling.laws.stats.power import PowerLaws, fit_power_law, power_equation
from plm_scaling.laws.text import law_text
from plm_scaling.study.laws import BOTH, LAWS, Law, fitted


@pytest.mark.parametrize("name", LAWS)
def test_what_an_entry_names_is_there(name):
    law = LAWS[name]
    assert callable(law_module(name).fit_tables)
    assert callable(getattr(law_module(name), f"fit_{name}"))
    assert law_schema(name)["allOf"]
    assert callable(getattr(points, law.unusable))
    for figure in law.figures + law.figures_of_curves:
        module = import_module(f"plm_scaling.figures.laws.{figure}")
        assert callable(getattr(module, f"{figure}_table"))
        assert callable(getattr(module, figure))


def test_the_config_takes_every_law_and_says_what_it_is():
    said = Laws.model_fields["fits"].description
    for name, law in LAWS.items():
        assert f"{name}: {law.about}." in said
        Laws(fits=[name], bootstrap=100, level=0.95, huber_delta=1e-3, axes="best")


def test_the_reason_of_the_mask_ratio_law_says_how_many_it_needs():
    assert f"with {MIN_RATIOS} mask ratios" in LAWS["mask_ratio"].not_taken


def test_files_of_a_study_are_those_that_its_runs_can_carry():
    laws = ["isoflop", "transfer", "mask_ratio", "joint"]
    assert fitted(laws, ["clm", "mlm"], {"clm"}) == [
        ("clm", "isoflop"),
        ("clm", "transfer"),
        ("mlm", "isoflop"),
        ("mlm", "mask_ratio"),
        (BOTH, "joint"),
    ]


def fit_tables(runs, curves, settings):
    """The loss at the end of a run as a power law of its compute, without the last run."""
    used = runs.iloc[:-1]
    flops = used["flops"].to_numpy(float)
    law = fit_power_law(flops, used["loss"].to_numpy(float))
    none = PowerLaws(*np.full((2, settings.bootstrap), np.nan))
    result = LawResult(
        law="made_up",
        method="least squares in log-log",
        n_points=len(used),
        equations={"L": power_equation("k*C^a", law, none, settings.level)},
        objective_value=None,
        residual_rms=None,
        warnings=[],
        details={},
    )
    result.taken = set(used["run_id"])
    return result


@pytest.fixture
def made_up(monkeypatch):
    module = ModuleType("plm_scaling.laws.made_up")
    module.fit_tables = fit_tables
    monkeypatch.setitem(sys.modules, module.__name__, module)
    law = Law(
        about="the loss at the end",
        module="made_up",
        unusable="not_comparable",
        headline=("L", "a", "L ∝ C^{}"),
        figures=("frontier",),
        not_taken="the last one",
    )
    monkeypatch.setitem(LAWS, "made_up", law)


def test_a_law_needs_an_entry_and_a_module_and_nothing_else(made_up, tmp_path, caplog):
    compute = [1e18, 1e19, 1e20, 1e21]
    table = {"n_params": 1e6, "tokens": [c / 6e6 for c in compute]}
    losses = [2.0 * c**-0.01 for c in compute]
    pd.DataFrame(table | {"loss": losses}).to_csv(tmp_path / "runs.csv", index=False)
    with caplog.at_level("DEBUG"):  # in the log file; `fit` and `summary` print it
        fit_law("made_up", tmp_path / "runs.csv", tmp_path / "law.json")
    assert "L ∝ C^-0.01" in caplog.text
    law = read_law(tmp_path / "law.json")
    assert law.equations["L"].parameters["a"] == pytest.approx(-0.01)
    assert [row["why"] for row in law.excluded] == ["the last one"]
    assert law.selection["used"] == 3
    assert "made_up" in law_text(law)
    assert "frontier" in run_figures(["made_up"], 1, 1)


def test_what_a_law_calls_a_is_judged_as_an_exponent_of_n_only_where_it_is_one(made_up):
    for name, law, status in (("L", "made_up", "converged"), ("N", "isoflop", "not_identified")):
        wide = Equation("k*C^a", {"a": 0.5}, {"a": (0.3, 0.7)}, 0.95)
        result = LawResult(law, "", 9, {name: wide}, None, None, [], {})
        assert result.status == status
