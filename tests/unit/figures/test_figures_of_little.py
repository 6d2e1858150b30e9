"""Every figure of a table of nothing, of one row, and of rows without numbers."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from plm_scaling.figures.drawn import MODULES
from plm_scaling.figures.parts.style import style

# One row with the columns of all tables: of a cell of one objective, one size and one budget.
ROW = {
    **{"objective": "clm", "run_id": "clm-1", "model": "clm-1", "cell": "clm-1", "status": ""},
    **{"corpus": "a", "recipe": "study", "size": "1M", "n_params": 1e6, "tokens": 2e7},
    **{"flops": 1.2e14, "flops_budget": 1.2e14, "loss": 2.5, "fitted_loss": 2.6, "law": "isoflop"},
    **{"residual_percent": 1.0, "extrapolated": False, "in_window": True, "n_low": 1e5},
    **{"n_high": 1e7, "n_params_low": 1e5, "n_params_high": 1e7, "tokens_low": 1e6},
    **{"tokens_high": 1e8, "epochs": 2.0, "gap": 0.1, "R_D": 5.0, "offset": 0.01},
    **{"constrained": 0.1, "additive": 0.1, "gain_nats": 0.1, "gain_low": 0.0, "gain_high": 0.2},
    **{"compute_ratio": 1.1, "compute_ratio_low": 1.0, "compute_ratio_high": 1.2, "low": 0.1},
    **{"high": 0.2, "mask_ratio": 0.15, "above_minimum": 0.0, "within_noise": False},
    **{"fitted": True, "batch_tokens": 1e4, "peak_learning_rate": 1e-3, "best_rate": 1e-3},
    **{
        "best_batch": 1e4,
        "law_batch": 1e4,
        "law_rate": 1e-3,
        "above_best": 0.0,
        "step": 10,
        "set": "valid",
        "predicted": 2.4,
    },
    **{"observed": 2.5, "inside": "yes", "at": "best", "stage": "clean", "reason": "kept"},
    **{"sequences": 9, "source": "uniref", "min_length": 0, "below_length": 100, "share": 0.1},
    **{"perplexity_low": 10.0, "perplexity_high": 20.0, "found_by": "both", "of_sequences": 90},
    **{"row": "cell", "task": "fitness", "dataset": "proteingym", "protocol": "llr"},
    **{"metric": "spearman", "value": 0.3, "standard_error": 0.1, "floor": 0.2, "verdict": ""},
    **{"part": "all", "identity": 0.5, "reference": 0.4, "family": "esm2", "repeated": True},
    **{"unique_tokens": 1e7, "n_runs": 1},
}
KINDS = {
    **dict.fromkeys(("isoflop", "loss_contours", "mask_ratio", "tuning", "batches"), "run"),
    **{"frontier": "law", "repeated": "gap", "perplexity": "bin"},
}  # else a cell
OF_ONE = {
    "learning_curves": {"status": "finished"},
    "masking": {"perplexity": "kept"},
    "fitness_and_loss": {"perplexity": 12.0, "dataset": "fitness"},
}


def table(name):
    """A table of one row, without a warning in any of its columns."""
    return pd.DataFrame([ROW | {"kind": KINDS.get(name, "cell")} | OF_ONE.get(name, {})])


def texts(figure):
    found = (text.get_text() for text in figure.findobj(Text) if text.get_visible())
    return [text for text in found if text]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MODULES)
def test_a_figure_draws_what_there_is_and_says_what_is_not(name):
    draw = getattr(import_module(f"plm_scaling.{MODULES[name]}"), name)
    one = table(name)
    numbers = one.select_dtypes("number").columns
    with style():
        drawn = draw(one)
        assert not [text for text in texts(drawn) if text.startswith("no ")]
        assert any(ax.lines or ax.collections or ax.patches for ax in drawn.axes)
        for ax in drawn.axes:  # all that a drawing may yet refuse
            assert np.isfinite([*ax.get_xticks(), *ax.get_yticks()]).all()
        for little in (one.iloc[:0], one.assign(**dict.fromkeys(numbers, np.nan))):
            figure = draw(little)
            (ax,) = figure.axes
            (sentence,) = (text.get_text() for text in ax.texts)
            assert sentence.startswith("no ")
            assert sentence.endswith(" yet")
            assert not figure.legends
