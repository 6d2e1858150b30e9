"""The comparison of corpora: lowest finished loss of each at each budget."""

import numpy as np
import pandas as pd
import pytest

from plm_scaling.figures.corpora import corpora, corpora_table


def run(corpus: str, flops: float, loss: float, **more: object) -> dict[str, object]:
    return {
        "run_id": f"{corpus}{flops:g}{loss:g}", "objective": "clm", "corpus": corpus,
        "n_params": 1000 * loss, "tokens": 4e6, "unique_tokens": 1e6, "flops": flops,
        "loss": loss, "status": "finished", "excluded": "", "init_from": "",
    } | more  # fmt: skip


RUNS = pd.DataFrame(
    [
        run("repeat", 1.00e10, 2.9),
        run("repeat", 1.005e10, 2.8),  # the same budget up to the sweep's rounding
        run("code", 1.00e10, 2.7),
        run("code", 1.00e10, np.nan, status="unfinished", excluded="unfinished"),
        run("code", 1.00e10, 2.1, init_from="x"),
        run("code", 1.00e10, 2.2, status="diverged", excluded="diverged"),
        run("repeat", 4.00e10, 2.5),
        run("code", 4.00e10, 2.55, unique_tokens=4e6),
    ]
)


def test_corpora_table_takes_the_lowest_finished_loss_from_scratch() -> None:
    table = corpora_table(RUNS).set_index(["corpus", "flops"])["loss"].to_dict()
    low = min(flops for _, flops in table)
    assert table["repeat", low] == 2.8
    assert table["code", low] == 2.7
    assert len(table) == 4


def test_corpora_table_says_what_each_costs_beside_the_best() -> None:
    table = corpora_table(RUNS).set_index("run_id")
    assert table.loc["repeat1.005e+102.8", "above_best"] == pytest.approx(0.1)
    assert table.loc["code1e+102.7", "above_best"] == 0
    assert table.loc["repeat4e+102.5", "epochs"] == 4
    assert table.loc["code4e+102.55", "epochs"] == 1
    assert table.loc["repeat1.005e+102.8", "n_runs"] == 2


def test_corpora_figure_has_a_line_for_each_corpus() -> None:
    figure = corpora(corpora_table(RUNS))
    (axes,) = figure.axes
    assert {line.get_label() for line in axes.lines} == {"code", "repeat"}
