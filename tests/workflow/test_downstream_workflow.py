"""`snakemake downstream` on a finished study: scores of cells; no cell is trained for it."""

import re

import pandas as pd
import pytest
from workflows import copy_of, raised

from plm_scaling.config.load import validate_config
from plm_scaling.downstream.collect import COLUMNS, GROUP_COLUMNS
from plm_scaling.figures import downstream_figures
from plm_scaling.laws.result import read_law
from plm_scaling.laws.status import Status
from plm_scaling.sweep.cells import plan_cells


@pytest.fixture(scope="module")
def evaluated(finished, tmp_path_factory):
    """Two cells of a finished study and their untrained counterparts, evaluated."""
    workflow = copy_of(finished, tmp_path_factory.mktemp("downstream"))
    runs = pd.read_csv(workflow.results / "runs.csv")
    cells = [runs[runs["objective"] == one]["run_id"].iloc[0] for one in ("clm", "mlm")]
    workflow.config["downstream"] |= {"datasets": ["fitness_demo"], "cells": cells}
    workflow.config["downstream"]["generation"] = {"number": 10, "max_length": 30}
    workflow.jobs = workflow.planned("downstream")
    workflow.run("downstream", "report")
    return workflow


def test_only_evaluates(evaluated):
    expected = {
        **{"prepare_task": 1, "expose_task": 1, "make_untrained": 2},
        **{"evaluate_model": 4, "generate_proteins": 2, "judge_proteins": 2},  # of the CLM alone
        **{"collect_downstream": 1},
        **{"fit_downstream": 2, "draw_downstream": 1},
    }
    assert evaluated.jobs == expected
    assert evaluated.planned("downstream") == {}


def test_scores_of_cells_and_their_untrained_counterparts(evaluated):
    scores = pd.read_csv(evaluated.results / "downstream/scores.csv")
    assert list(scores) == COLUMNS
    cells = scores[scores["kind"] == "cell"]
    assert set(cells["protocol"]) >= {"llr", "masked_marginals", "wild_type_marginals"}
    assert cells["loss"].notna().all()
    assert cells.loc[cells["task"] == "fitness", "exposed"].between(0, 1).all()
    before = scores[scores["kind"] == "untrained"]
    assert set(before["model"]) == {f"untrained-{one}" for one in cells["model"]}
    assert before["loss"].isna().all()
    assert (before["tokens"] == 0).all()
    assert before["exposed"].isna().all()


def test_proteins_of_the_clm_are_scored_beside_natural_and_shuffled_ones(evaluated):
    scores = pd.read_csv(evaluated.results / "downstream/scores.csv")
    made = scores[scores["task"] == "generation"]
    assert set(made["objective"]) == {"clm"}
    assert set(made["kind"]) == {"cell", "untrained"}
    lengths = made[made["metric"] == "mean_length"]
    assert lengths["value"].between(1, 30).all()
    assert (lengths["floor"] == lengths["reference"]).all()  # shuffling keeps them
    cell = made["model"].iloc[0]
    assert evaluated.results.joinpath(f"downstream/{cell}/generation.tsv").is_file()
    # Fewer cells or other numbers of them make no proteins again; another temperature does.
    how = evaluated.config["downstream"]["generation"]
    how["cells"] = 1
    same = evaluated.planned("downstream")
    how["temperature"] = 0.9
    other = evaluated.planned("downstream")
    del how["cells"], how["temperature"]
    how |= {"perplexity_by": "models/none", "esmfold": "models/none"}
    judged, said = evaluated.plan("downstream")
    del how["perplexity_by"], how["esmfold"]
    assert same == {}
    # Of two models, and once of the natural and the shuffled proteins that all are compared with.
    assert judged["measure_proteins"] == 4
    assert said.count("mem_mb=24000") == 4  # ESMFold's weights are 14 GB
    assert judged["judge_proteins"] == 2
    assert "generate_proteins" not in judged
    assert other["generate_proteins"] == other["judge_proteins"] == 2
    assert "evaluate_model" not in other


def test_proteins_are_measured_by_a_cell_once_it_has_finished(fresh):
    cell = next(iter(plan_cells(validate_config(fresh.config, "fresh"))))
    fresh.config["downstream"]["generation"] = {"perplexity_by": cell}
    run = fresh.results / "runs" / cell
    run.mkdir(parents=True)
    (fresh.data / "split").mkdir(parents=True)
    for name in ("splits.tsv", "tool.json", "counts.tsv"):
        (fresh.data / "split" / name).touch()
    measured = fresh.results / "downstream/natural.measured.npz"
    target = str(measured.relative_to(fresh.folder))
    assert f"runs/{cell}" not in inputs_of("measure_proteins", fresh.plan(target)[1])
    (run / "result.json").touch()
    assert f"runs/{cell}/result.json" in inputs_of("measure_proteins", fresh.plan(target)[1])


def inputs_of(rule, said):
    """The line of a dry run that names them."""
    return re.search(rf"^rule {rule}:\n    input: (.*)$", said, re.MULTILINE)[1]


def test_groups_are_the_assays(evaluated):
    groups = pd.read_csv(evaluated.results / "downstream/groups.csv")
    assert list(groups) == GROUP_COLUMNS
    assert groups["group"].nunique() == 3
    trained = groups[groups["kind"] == "cell"]
    # TEM-1 and PSD-95 are not in the few hundred sequences of the study, so most have no homologue.
    assert trained["exposed"].notna().all()


def test_a_setting_evaluates_only_what_reads_it_again(evaluated):
    """Fitness reads none."""
    config = evaluated.config["downstream"]
    of_scores = {"collect_downstream": 1, "fit_downstream": 2, "draw_downstream": 1}
    config["contacts"]["penalty"] *= 2
    other = evaluated.planned("downstream")
    config["untrained"] = False
    fewer = evaluated.planned("downstream")
    config["untrained"] = True
    config["contacts"]["penalty"] /= 2
    assert other == {}
    assert fewer == of_scores


def test_data_that_were_made_again_are_compared_with_again(evaluated, tmp_path):
    """Also of models that do not change with them."""
    workflow = copy_of(evaluated, tmp_path / "copy")
    splits = workflow.data / "split/splits.tsv"
    splits.write_text(splits.read_text() + "\n")
    planned = workflow.planned("downstream")
    assert planned["expose_task"] == 1
    assert planned["judge_proteins"] == 2  # also the untrained cell's
    assert "evaluate_model" not in planned


def test_raised_stage_version_evaluates_again(evaluated, tmp_path):
    again = {**evaluated.jobs}
    del again["make_untrained"]
    assert raised(evaluated, "downstream", tmp_path / "repository").planned("downstream") == again


def test_no_datasets_are_said(evaluated):
    config = evaluated.config["downstream"]
    how = config["generation"]
    config |= {"datasets": [], "generation": None}
    done = evaluated.run("downstream", "--dry-run", check=False)
    _, warned = evaluated.plan("report")
    config |= {"datasets": ["fitness_demo"], "generation": how}
    assert "scores.csv is of another config: this one names no benchmark" in warned
    assert done.returncode == 1
    assert "downstream.datasets is empty" in done.stdout + done.stderr


def test_proteins_alone_need_no_benchmark(evaluated):
    """They have no law of scores, and none of its figures."""
    config = evaluated.config["downstream"]
    config["datasets"] = []
    fewer, said = evaluated.plan("downstream")
    report, warned = evaluated.plan("report")
    config["datasets"] = ["fitness_demo"]
    assert fewer == {"collect_downstream": 1, "draw_downstream": 1}
    assert "KeyError" not in said  # no other rule is tried for their files
    assert report == {"record_config": 1, "make_report": 1}  # now without scores of other datasets
    assert "scores.csv is of another config (fitness_demo)" in warned


def test_masked_models_are_left_out_of_indels(evaluated):
    """And said, while the others are evaluated."""
    config = evaluated.config["downstream"]
    files = evaluated.folder / "assays.csv", evaluated.folder / "assays.zip"
    for file in files:
        file.touch()
    what = {"task": "fitness", "form": "proteingym_indels", "split": "", "metric": "spearman"}
    config["own"] = {"indels": what | {"files": [file.name for file in files]}}
    config["datasets"] = ["indels"]
    planned, said = evaluated.plan("downstream")
    config |= {"datasets": ["fitness_demo"], "own": {}}
    assert planned["evaluate_model"] == 2  # the CLM, trained and not
    assert planned["fit_downstream"] == 1
    assert "indels: without 2 masked models, as" in said


def test_no_causal_model_is_said(evaluated):
    config = evaluated.config["downstream"]
    cells = config["cells"]
    config["cells"] = cells[1:]  # the MLM
    done = evaluated.run("downstream", "--dry-run", check=False)
    config["cells"] = cells
    assert done.returncode == 1
    assert "downstream.generation: no causal model is evaluated" in done.stdout + done.stderr


def test_unknown_dataset_is_said(evaluated):
    config = evaluated.config["downstream"]
    config["datasets"] = ["fitnes_demo"]
    done = evaluated.run("plan", "--dry-run", check=False)
    config["datasets"] = ["fitness_demo"]
    assert done.returncode == 1
    assert "downstream.own has 'fitnes_demo'" in done.stdout + done.stderr


def test_report_asked_for_in_the_same_run_shows_the_scores_and_their_laws(evaluated):
    law = read_law(evaluated.results / "laws/clm.downstream.json")
    assert law.status == Status.NOT_IDENTIFIED  # one cell
    assert "1 cell; a law of scores needs 6" in law.reason
    several = "series: not identified: 1 cell; a law of scores needs 6"
    assert [one.endswith(several) for one in law.warnings] == [True, False]  # together, and the law
    page = (evaluated.results / "report.html").read_text()
    assert '<section id="scores">' in page
    for name in downstream_figures(["fitness", "generation"]):
        assert f'id="figure-{name}"' in page
    assert "a law of scores needs 6" in page
    assert evaluated.planned("report") == {}
