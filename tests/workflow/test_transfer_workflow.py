"""Cells that start from the other objective, from the config to the law and the report."""

import json

import pandas as pd
import pytest
from workflows import copy_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def transferred(finished, tmp_path_factory):
    """The finished workflow with two pairs towards MLM, one towards CLM, and their laws."""
    workflow = copy_of(finished, tmp_path_factory.mktemp("transferred"))
    workflow.config["sweep"]["transfer"] = [
        {"corpus": "demo", "recipe": "study", "objective": objective, "size": size}
        | {"flops": flops, "source_flops": source_flops}
        for objective, size, flops, source_flops in (
            ("mlm", "b", 4e8, 4e8), ("mlm", "c", 8e8, 4e8), ("clm", "b", 8e8, 2e8),
        )
    ]  # fmt: skip
    workflow.config["laws"]["fits"].append("transfer")
    workflow.jobs = workflow.planned()
    workflow.run()
    return workflow


def test_transfer_trains_only_the_new_cells_and_their_sources(transferred):
    assert transferred.jobs["train_cell"] == 4  # three targets, and the source that the grid lacks
    assert transferred.jobs["fit_law"] == 6
    assert not {"tokenize_part", "deduplicate"} & set(transferred.jobs)


def test_transfer_runs_and_laws_are_made(transferred):
    runs = pd.read_csv(transferred.results / "runs.csv", dtype={"init_from": str}).set_index(
        "run_id"
    )
    targets = runs[runs["init_from"].notna()]
    assert sorted(targets["objective"]) == ["clm", "mlm", "mlm"]
    for _, run in targets.iterrows():
        source = runs.loc[run["init_from"]]
        assert source["objective"] != run["objective"]
        assert source["n_params"] == run["n_params"]
        assert source["flops"] == run["source_flops"]
    laws = {
        objective: json.loads((transferred.results / f"laws/{objective}.transfer.json").read_text())
        for objective in ("clm", "mlm")
    }
    assert laws["mlm"]["status"] == "two_points"
    assert {pair["run_id"] for pair in laws["mlm"]["pairs"]} == set(
        targets.index[targets["objective"] == "mlm"]
    )
    assert laws["clm"]["status"] == "not_identified"
    assert any("a power law needs two" in warning for warning in laws["clm"]["warnings"])
    isoflop = json.loads((transferred.results / "laws/mlm.isoflop.json").read_text())
    assert {row["why"] for row in isoflop["excluded"]} == {"not trained from scratch"}
    assert 'id="figure-transfer"' in (transferred.results / "report.html").read_text()


def test_transfer_run_is_evaluated_on_every_held_out_set(transferred):
    table = pd.read_csv(transferred.results / "evaluations.csv")
    sets = {"valid", "valid/uniref_demo", "valid/metagenome_demo"}
    assert all(set(own) == sets for _, own in table.groupby("run_id")["set"])
    assert len(table) == 3 * 20
    assert (table.groupby(["objective", "set"])["predicted_tokens"].nunique() == 1).all()
    runs = pd.read_csv(transferred.results / "runs.csv").set_index("run_id")["loss"]
    valid = table[table["set"] == "valid"].set_index("run_id")["loss"]
    pd.testing.assert_series_equal(valid, runs, check_index=True, check_exact=True)


def test_transfer_is_up_to_date_even_when_a_source_is_touched(transferred):
    assert transferred.planned() == {}
    sweep = pd.read_csv(transferred.results / "sweep.tsv", sep="\t", dtype={"init_from": str})
    for source in sweep["init_from"].dropna():
        (transferred.results / f"runs/{source}/result.json").touch()
    assert transferred.planned() == {}


def test_transfer_from_a_diverged_source_is_an_error(transferred, tmp_path):
    workflow = copy_of(transferred, tmp_path)
    sweep = pd.read_csv(workflow.results / "sweep.tsv", sep="\t", dtype={"init_from": str})
    target = sweep[sweep["init_from"].notna()].iloc[0]
    path = workflow.results / f"runs/{target.init_from}/result.json"
    record = json.loads(path.read_text()) | {"status": "diverged", "reason": "loss is nan"}
    path.write_text(json.dumps(record))
    result = workflow.results / f"runs/{target.cell}/result.json"
    done = workflow.run(str(result.relative_to(tmp_path)), check=False)
    assert done.returncode != 0
    assert f"cell {target.init_from}, which diverged (loss is nan)" in done.stderr
