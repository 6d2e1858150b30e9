"""Which cells are evaluated, what they are before training, and the tables of all scores."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cell_fixtures import cell_of, record_of
from finished_runs import SHAPE, finished_run
from small_assays import assay, prepared, single_mutants

from plm_scaling.cli.main import app
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.config.downstream import Lora
from plm_scaling.downstream.cells import chosen_cells, making, models_for, untrained_cells
from plm_scaling.downstream.collect import COLUMNS, collect_downstream
from plm_scaling.downstream.datasets import PREPARED
from plm_scaling.downstream.evaluate import evaluate_model
from plm_scaling.downstream.models import facts_of
from plm_scaling.downstream.table import SHIPPED, read_datasets
from plm_scaling.downstream.untrained import write_untrained
from plm_scaling.inference.run import open_run
from plm_scaling.train.distributed.process import cpu_process
from plm_scaling.train.model.builder import build_model


@pytest.fixture
def sweep(tmp_path):
    """Cells of two budgets with their losses, of which one diverged and one is not trained."""
    cells, by_name = {}, {}
    for name, objective, budget, loss in (
        *(("a", "clm", 1e9, 2.50), ("b", "clm", 1e9, 2.52), ("c", "clm", 1e9, 2.54)),
        *(("d", "clm", 2e9, 2.45), ("e", "mlm", 1e9, 2.80), ("f", "clm", 1e9, None)),
        *(("g", "clm", 1e9, "unfinished"), ("h", "clm", 1e9, 2.51), ("i", "clm", 1e9, 2.525)),
    ):
        cell = cell_of(objective, SHAPE, flops_budget=budget, data_seed=len(cells) + 1)
        cells[cell.cell], by_name[name] = cell, cell.cell
        if loss != "unfinished":
            status = "finished" if loss else "diverged"
            record = record_of(cell, loss=loss, status=status)
            write_json(tmp_path / cell.cell / "result.json", record.to_json())
    return cells, by_name, tmp_path


def evaluate(run, folder, out, *options):
    """By the command."""
    words = ["evaluate", str(run), "own", "--data", str(folder), "--out", str(out), *options]
    app(words, result_action="return_value")


def test_frontier_is_the_three_best_within_three_hundredths_of_a_nat(sweep):
    cells, names, runs = sweep
    assert chosen_cells(cells, runs, "frontier") == [names[one] for one in "abdeh"]
    write_json(runs / names["h"] / "result.json", {})
    write_json(runs / names["i"] / "result.json", {})
    assert chosen_cells(cells, runs, "frontier") == [names[one] for one in "abde"]
    assert chosen_cells(cells, runs, "best") == [names[one] for one in "de"]
    assert chosen_cells(cells, runs, "all") == [names[one] for one in "abcde"]
    assert chosen_cells(cells, runs, [names["c"]]) == [names["c"]]
    assert chosen_cells(cells, runs, []) == []


def test_cells_that_cannot_be_evaluated_are_named(sweep, tmp_path):
    cells, names, runs = sweep
    with pytest.raises(DownstreamError, match=f"{names['f']} has not finished"):
        chosen_cells(cells, runs, [names["f"]])
    with pytest.raises(DownstreamError, match="no cell of this sweep"):
        chosen_cells(cells, runs, ["0123456789"])
    with pytest.raises(DownstreamError, match="no cell has finished"):
        chosen_cells(cells, tmp_path / "nothing", "all")


def test_one_untrained_cell_for_each_beginning(sweep):
    cells, names, runs = sweep
    chosen = chosen_cells(cells, runs, "all")
    assert untrained_cells(cells, chosen) == [names["a"], names["e"]]


def test_the_best_clms_make_proteins_and_what_they_began_as(sweep):
    cells, names, runs = sweep
    chosen = chosen_cells(cells, runs, "all")
    first = untrained_cells(cells, chosen)
    assert making(cells, runs, chosen, first, 2) == ([names["d"], names["a"]], [names["a"]])
    best = [names[one] for one in "dahbic"]
    assert making(cells, runs, chosen, first, None) == (best, [names["a"]])
    assert making(cells, runs, [names["e"]], first, 2) == ([], [])


def test_masked_models_are_left_out_of_insertions_and_deletions():
    datasets = read_datasets(SHIPPED)
    indels, fitness = datasets["proteingym_indels"], datasets["fitness_small"]
    models = {"a": True, "b": False}
    assert models_for(indels, models) == ["a"]
    assert models_for(fitness, models) == ["a", "b"]
    assert models_for(indels, {}) == []
    with pytest.raises(DownstreamError, match=r"proteingym_indels has insertions .* add a CLM"):
        models_for(indels, {"b": False})


def test_untrained_run_has_the_weights_that_training_begins_with(tmp_path):
    cell = cell_of("clm", SHAPE, context_length=64)
    out = tmp_path / "run/result.json"
    write_untrained(cell.to_json(), 1, out)
    with cpu_process(threads=1, seed=cell.seed):
        expected = {n: p.detach().clone() for n, p in build_model(cell).named_parameters()}
    with open_run(out.parent, threads=1) as run:
        found = dict(run.network.named_parameters())
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    facts = facts_of(str(out.parent), {})
    assert (facts["kind"], facts["tokens"], facts["loss"]) == ("untrained", 0, None)


def test_untrained_cell_is_at_the_floor(tmp_path):
    """Its scores are those of random rankings, within their standard error."""
    cell = cell_of("mlm", SHAPE, context_length=64)
    write_untrained(cell.to_json(), 1, tmp_path / "run/result.json")
    folder = prepared(tmp_path / "data", {"a": assay(single_mutants(200, seed=3))})
    out = tmp_path / "out.parquet"
    evaluate(tmp_path / "run", folder, out)
    scores = read_json(out.with_suffix(".json"))["scores"]
    for score in scores:
        if score["metric"] == "spearman" and score["protocol"] == "masked_marginals":
            assert abs(score["value"]) < 3 * score["standard_error"]


def test_command_says_scores_and_where_they_are(tmp_path, capsys):
    finished_run(tmp_path / "run", "clm")
    folder = prepared(tmp_path / "data", {"a": assay(single_mutants(20, seed=3))})
    out = tmp_path / "out.parquet"
    evaluate(tmp_path / "run", folder, out)
    said = capsys.readouterr().out
    assert "llr, spearman: " in said
    assert f"scores: {out.with_suffix('.json')}" in said
    again = tmp_path / "again.csv"
    evaluate(tmp_path / "run", folder, again, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told == read_json(again.with_suffix(".json"))
    assert told["scores"] == read_json(out.with_suffix(".json"))["scores"]
    pd.testing.assert_frame_equal(pd.read_csv(again), pd.read_parquet(out), check_dtype=False)
    assert {path.name for path in tmp_path.glob("*again*")} == {"again.csv", "again.json"}


def test_damaged_benchmark_is_to_be_removed_only_where_it_is_prepared_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "run", "clm")
    for parent, remedy in (
        (PREPARED, "remove {}, so that it is prepared again"),
        (Path("given"), "give another --data"),
    ):
        folder = prepared(parent, {"a": assay(single_mutants(20, seed=3))})
        remedy = remedy.format(folder)
        facts, items = folder / "task.json", folder / "items.parquet"
        write_json(facts, {"task": "fitness", "metric": "spearman"})

        def says(what, folder=folder, remedy=remedy):
            with pytest.raises(DownstreamError, match=f"^{re.escape(what)}.*; {remedy}$"):
                evaluate_model("run", folder, None, 1, 1, tmp_path / "out.parquet")

        items.write_bytes(items.read_bytes()[:100])
        says(f"{items} is damaged")
        items.unlink()
        says(f"{items} is missing")
        facts.write_text("{")
        says(f"{facts} is damaged")
        facts.unlink()
        says(f"{folder} is no prepared dataset: there is no task.json")


def test_scores_of_all_models_in_one_table(tmp_path):
    facts = {"kind": "cell", "objective": "clm", "loss": 2.5, "n_params": 7, "recipe": "study"}
    score = {
        **{"protocol": "llr", "metric": "spearman", "value": None, "standard_error": None},
        **{"n_items": 20, "n_groups": 1, "layer": None, "floor": 0.2, "note": "", "group": ""},
    }
    for model, kind in (("one", "cell"), ("two", "esm2")):
        write_json(
            tmp_path / model / "mine.json",
            {"model": facts | {"kind": kind}, "task": "fitness", "dataset": "mine", "seed": 1}
            | {"scores": [score, score | {"group": "a", "value": 0.1}]},
        )
    exposure = tmp_path / "mine/exposure.demo.parquet"
    exposure.parent.mkdir()
    pd.DataFrame(
        {"id": ["a", "b"], "length": 9, "identity": [0.7, np.nan], "coverage": [0.9, 0]}
        | {"exposed": [True, False]}
    ).to_parquet(exposure)
    records = [tmp_path / "one/mine.json", tmp_path / "two/mine.json"]
    scores, groups = tmp_path / "scores.csv", tmp_path / "groups.csv"
    curve = pd.DataFrame(
        {"step": [1, 1, 2, 2, 3, 3], "tokens": 8, "flops": 1.0, "split": ["train", "valid"] * 3}
        | {"loss": [9, 4.0, 9, 2.4, 9, 2.2]}
    )
    (tmp_path / "runs/one").mkdir(parents=True)
    curve.to_csv(tmp_path / "runs/one/curve.csv", index=False)
    laws = tmp_path / "laws"
    laws.mkdir()
    for name in ("clm.downstream", "mlm.downstream", "mlm.isoflop"):
        (laws / f"{name}.json").touch()
    collect_downstream(records, scores, groups, tmp_path / "runs", 2, [exposure], laws)
    # The law of an objective that a former config evaluated is not left to the report.
    assert {path.name for path in laws.iterdir()} == {"clm.downstream.json", "mlm.isoflop.json"}
    table = pd.read_csv(scores)
    assert table["loss"].tolist() == pytest.approx([2.3, 2.5])  # as in runs.csv, and as recorded
    assert list(table) == COLUMNS
    assert table["model"].tolist() == ["one", "two"]
    assert table["value"].isna().all()
    assert table["exposed"].tolist()[0] == 0.5
    assert np.isnan(table["exposed"][1])  # nobody knows what a public model was trained on
    single = pd.read_csv(groups)
    assert single["group"].tolist() == ["a", "a"]
    assert single["identity"].tolist()[0] == 0.7


def test_record_names_facts_of_the_cell(tmp_path):
    cell = finished_run(tmp_path / "run", "mlm", start_token=True)
    facts = facts_of(str(tmp_path / "run"), {})
    assert facts["recipe"] == "study+start_token"
    assert facts["n_params"] == cell.n_params
    assert facts["kind"] == "cell"
    assert dataclasses.asdict(cell)["size"] == facts["size"]


@pytest.mark.parametrize(("options", "lora"), [([], None), (["--lora"], Lora())])
def test_the_command_fine_tunes_where_it_is_asked_to(tmp_path, monkeypatch, options, lora):
    asked = []

    def evaluate_model(model, data, settings, seed, threads, out):
        asked.append(settings.lora)
        write_json(out.with_suffix(".json"), {"scores": []})

    monkeypatch.setattr("plm_scaling.downstream.evaluate.evaluate_model", evaluate_model)
    finished_run(tmp_path / "run")
    evaluate(tmp_path / "run", tmp_path, tmp_path / "out.parquet", *options)
    assert asked == [lora]
