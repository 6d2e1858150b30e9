"""The workflow recovers a known law from runs whose losses were drawn from it."""

import json

import numpy as np
import pytest
from synthetic import Surface, write_cell

from plm_scaling.config.load import validate_config
from plm_scaling.sweep.cells import plan_cells

# exponents a = β/(α+β) of 0.54 and 0.77; coefficients that put the optima inside the grid below
TRUTH = {
    "clm": Surface(E=1.7, A=60.0, alpha=0.30, B=280.0, beta=0.35),
    "mlm": Surface(E=1.5, A=5.7, alpha=0.12, B=2100.0, beta=0.40),
}
NOISE = 0.0005  # relative, about that of an evaluation


@pytest.fixture
def drawn(fresh):
    """A sweep of the study's sizes, each cell's loss drawn from the known surface."""
    fresh.config["sweep"] |= {
        "budgets_flops": [1e18, 3e18, 1e19, 3e19, 1e20],
        "sizes": ["6M", "13M", "25M", "47M", "85M", "127M", "170M", "300M", "470M", "680M", "1.2B"],
        "tokens_per_parameter": [3, 2000],
    }
    fresh.config["training"]["batch_tokens"] = [{"from_parameters": 0, "value": 524288}]
    fresh.config["laws"]["bootstrap"] = 200
    rng = np.random.default_rng(0)
    for name, cell in plan_cells(validate_config(fresh.config, "test")).items():
        loss = TRUTH[cell.objective].loss(cell.n_params, cell.tokens)
        drawn_loss = loss * (1 + NOISE * rng.standard_normal())
        folder = fresh.results / "runs" / name
        write_cell(folder, cell, drawn_loss, unique_tokens=cell.tokens)
    return fresh


@pytest.mark.slow
def test_laws_recover_the_exponents_of_simulated_losses(drawn):
    drawn.run(
        *(f"results/tiny/laws/{of}.{law}.json" for of in TRUTH for law in ("isoflop", "parametric"))
    )
    for objective, truth in TRUTH.items():
        for law, tolerance in (("isoflop", 0.05), ("parametric", 0.03)):
            fitted = json.loads((drawn.results / f"laws/{objective}.{law}.json").read_text())
            size = fitted["equations"]["N"]
            assert size["a"] == pytest.approx(truth.a, abs=tolerance)
            low, high = size["interval"]["a"]
            assert low <= truth.a <= high
            assert high - low < 0.2
            predicted = size["k"] * 1e19 ** size["a"]
            assert predicted == pytest.approx(truth.optimum(1e19), rel=0.25)
