"""Corpora and recipes at equal compute, and every held-out set."""

import numpy as np
import pandas as pd
import pytest

from plm_scaling.figures.runs.comparison import comparison, comparison_table
from plm_scaling.figures.runs.held_out import held_out, held_out_table


def run(corpus: str, flops: float, loss: float, **more: object) -> dict[str, object]:
    return {
        "run_id": f"{corpus}{flops:g}{loss:g}", "objective": "clm", "corpus": corpus,
        "recipe": "study", "size": f"{1000 * loss:g}", "n_params": 1000 * loss, "tokens": 4e6,
        "unique_tokens": 1e6, "flops": flops, "loss": loss, "status": "finished", "excluded": "",
        "init_from": "", "mask_ratio": np.nan, "masking": "",
    } | more  # fmt: skip


RUNS = pd.DataFrame(
    [
        run("repeat", 1.00e10, 2.9, size="1k"),
        run("repeat", 1.005e10, 2.8, size="2k"),  # the same budget up to the sweep's rounding
        run("code", 1.00e10, 2.7, size="1k"),
        run("code", 1.00e10, np.nan, status="unfinished", excluded="unfinished"),
        run("code", 1.00e10, 2.1, init_from="x"),
        run("code", 1.00e10, 2.2, status="diverged", excluded="diverged"),
        run("code", 1.00e10, 2.3, recipe="prenorm"),
        run("code", 1.00e10, 2.4, masking="bert"),
        run("repeat", 4.00e10, 2.5),
        run("code", 4.00e10, 2.55, unique_tokens=4e6),
    ]
)


def test_comparison_takes_the_lowest_finished_loss_from_scratch_of_one_recipe() -> None:
    table = comparison_table(RUNS, "corpus")
    best = table[table["at"] == "best"].set_index(["corpus", "flops"])["loss"].to_dict()
    low = min(flops for _, flops in best)
    assert best["repeat", low] == 2.8
    assert best["code", low] == 2.7
    assert len(best) == 4


def test_comparison_leaves_out_runs_that_tune_one_corpus() -> None:
    tuned = pd.DataFrame([run("code", 1.00e10, 2.6, part="tuning")])
    table = comparison_table(pd.concat([RUNS.assign(part=""), tuned]), "corpus")
    assert table["loss"].min() == comparison_table(RUNS, "corpus")["loss"].min()
    assert 2.6 not in set(table["loss"])


def test_comparison_says_what_each_costs_beside_the_best() -> None:
    table = comparison_table(RUNS, "corpus")
    best = table[table["at"] == "best"].set_index("run_id")
    assert best.loc["repeat1.005e+102.8", "above_best"] == pytest.approx(0.1)
    assert best.loc["code1e+102.7", "above_best"] == 0
    assert best.loc["repeat4e+102.5", "epochs"] == 4
    assert best.loc["code4e+102.55", "epochs"] == 1
    assert best.loc["repeat1.005e+102.8", "n_runs"] == 2
    sizes = table[table["at"] != "best"].set_index("run_id")["above_best"].to_dict()
    assert sizes == pytest.approx({"code1e+102.7": 0, "repeat1e+102.9": 0.2})


def test_comparison_of_recipes_is_on_the_corpus_that_most_runs_share() -> None:
    runs = pd.DataFrame(
        [
            run("a", 1e10, 2.9, size="1k"),
            run("a", 1e10, 2.8, size="1k", recipe="prenorm", n_params=700),
            run("a", 1e10, 2.7, size="2k"),
            run("b", 1e10, 2.0, size="1k"),
            run("a", 1e10, 3.0, size="1k", objective="mlm"),
        ]
    )
    table = comparison_table(runs, "recipe").set_index(["objective", "at", "recipe"])["above_best"]
    assert table.to_dict() == pytest.approx(
        {
            ("clm", "best", "prenorm"): 0.1,
            ("clm", "best", "study"): 0,
            ("clm", "1k", "prenorm"): 0,
            ("clm", "1k", "study"): 0.1,
            ("mlm", "best", "study"): 0,
        }
    )


def test_comparison_figure_has_a_line_and_the_sizes_of_each_corpus() -> None:
    losses, above = comparison(comparison_table(RUNS, "corpus"), "corpus").axes
    assert {line.get_label() for line in losses.lines} == {"code", "repeat"}
    assert len(above.lines) == 4
    dots = [line.get_ydata()[0] for line in above.lines if line.get_linestyle() == "None"]
    assert sorted(dots) == pytest.approx([0, 0.2])


def evaluation(corpus: str, flops: float, losses: tuple[float, ...], **more: object) -> list[dict]:
    facts = {
        "run_id": f"{corpus}{flops:g}{losses[0]:g}", "objective": "mlm", "corpus": corpus,
        "recipe": "study", "size": "1k", "n_params": 1e3, "tokens": 1e6, "flops": flops,
        "init_from": "", "predicted_tokens": 100,
    } | more  # fmt: skip
    names = ("valid", "valid/uniref", "valid/meta")
    return [{**facts, "set": s, "loss": loss} for s, loss in zip(names, losses, strict=True)]


EVALUATIONS = pd.DataFrame(
    [
        *evaluation("small", 1e10, (2.6, 2.4, 2.8)),
        *evaluation("small", 1e10, (2.7, 2.3, 2.7)),  # better on one source, not the best on all
        *evaluation("broad", 1.002e10, (2.5, 2.45, np.nan)),
        *evaluation("broad", 1e10, (1.5, 1.5, 1.5), init_from="x"),
        *evaluation("broad", 9e10, (2.0, 1.9, 2.1)),
    ]
)


def test_held_out_table_compares_the_best_run_of_each_corpus_on_the_same_set() -> None:
    table = held_out_table(EVALUATIONS)
    low = table[table["flops"] < 2e10].set_index(["corpus", "set"])["above_best"]
    assert low.to_dict() == pytest.approx(
        {
            ("broad", "valid"): 0,
            ("broad", "valid/uniref"): 0.05,
            ("small", "valid"): 0.1,
            ("small", "valid/uniref"): 0,
            ("small", "valid/meta"): 0,
        }
    )
    assert len(table) == 8


def test_held_out_figure_is_of_the_largest_budget_that_all_corpora_have() -> None:
    (axes,) = held_out(held_out_table(EVALUATIONS)).axes
    assert "10¹⁰ FLOPs" in axes.get_title()
    losses = {line.get_label(): sorted(line.get_xdata()) for line in axes.lines}
    assert losses == {"broad": [2.45, 2.5], "small": [2.4, 2.6, 2.8]}
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("valid", "valid/uniref", "valid/meta"),
    ]
