"""The transfer figure, also where little is known."""

import numpy as np
import pandas as pd
import pytest

from plm_scaling.figures.laws.transfer import COLUMNS, transfer


def table(**changes: object) -> pd.DataFrame:
    """Two pairs towards MLM and one towards CLM; `changes` replace columns."""
    values = {
        "objective": ["clm", "mlm", "mlm"],
        "source": ["a", "b", "c"],
        "run_id": ["d", "e", "f"],
        "n_params": [1924.0, 1924.0, 3300.0],
        "flops": 8e8,
        "source_flops": 4e8,
        "source_share": 1 / 3,
        "gain_nats": [0.001, 0.007, 0.004],
        "gain_low": [0.0, 0.006, np.nan],
        "gain_high": [0.002, 0.008, np.nan],
        "compute_ratio": [0.7, 1.2, 1.1],
        "compute_ratio_low": [0.6, 1.1, np.nan],
        "compute_ratio_high": [0.8, 1.3, np.nan],
    }
    return pd.DataFrame(values | changes, columns=list(COLUMNS))


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, "above 1: transfer saves compute"),
        ({"compute_ratio": None}, "no law of scratch runs: not known"),
    ],
)
def test_figure_is_drawn_over_the_sizes_also_when_no_ratio_is_known(tmp_path, changes, note):
    figure = transfer(table(**changes))
    figure.savefig(tmp_path / "transfer.png")
    top, bottom = figure.axes
    assert note in [text.get_text() for text in bottom.texts]
    assert bottom.get_xlim() == top.get_xlim()
    assert 1000 < top.get_xlim()[0] < 1924 < 3300 < top.get_xlim()[1] < 5000
