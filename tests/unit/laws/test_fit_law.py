import json

import jsonschema
import pytest
import synthetic

from plm_scaling.common.errors import LawError
from plm_scaling.common.files import sha256_of
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.result import read_law
from plm_scaling.laws.schema import law_schema
from plm_scaling.laws.settings import Settings
from plm_scaling.runs.collect import collect_runs
from plm_scaling.runs.tables import read_runs
from plm_scaling.study.sweep_table import read_sweep


@pytest.fixture
def study(tmp_path):
    synthetic.write_study(tmp_path)
    return tmp_path


def collect(folder):
    out = (folder / name for name in ("runs.csv", "curves.parquet", "evaluations.csv"))
    collect_runs(folder / "sweep.tsv", folder / "runs", 1, *out)
    return folder / "runs.csv"


def fit(folder, law="isoflop", objective="clm", **settings):
    out = folder / "laws" / f"{objective}.{law}.json"
    curves = settings.pop("curves", None)
    settings = Settings(**{"bootstrap": 200} | settings)
    fit_law(law, collect(folder), out, objective, "demo", curves, settings)
    document = json.loads(out.read_text())
    jsonschema.validate(document, law_schema(document["law"]))
    return document


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_fit_law_file_follows_the_schema_and_recovers_the_surface(study, law, objective):
    document = fit(study, law, objective)
    truth = synthetic.DEMO_SURFACES[objective].a
    assert document["equations"]["N"]["a"] == pytest.approx(truth, abs=0.06)
    low, high = document["equations"]["N"]["interval"]["a"]
    assert low < document["equations"]["N"]["a"] < high
    # two cells of the mlm sweep repeat its 5M unique tokens more than four times
    assert document["n_points"] == {"clm": 15, "mlm": 13}[objective]
    assert document["data"]["sha256"] == sha256_of(study / "runs.csv")
    assert {row["why"] for row in document["excluded"]} <= {"more than 4 epochs"}
    assert len(document["excluded"]) == 15 - document["n_points"]


def test_fit_law_read_back_is_what_was_written(study):
    document = fit(study, "parametric")
    again = read_law(study / "laws/clm.parametric.json").to_json()
    assert json.loads(json.dumps(again)) == document


def test_law_file_lists_the_runs_that_it_rests_on(study):
    document = fit(study)
    table = read_runs(study / "runs.csv").set_index("run_id")
    left_out = {row["run_id"] for row in document["excluded"]}
    assert [row["run_id"] for row in document["runs"]] == [
        run_id for run_id in table.index[table["objective"] == "clm"] if run_id not in left_out
    ]
    for row in document["runs"]:
        assert table.loc[row["run_id"], ["n_params", "tokens", "flops", "loss"]].to_dict() == {
            name: value for name, value in row.items() if name != "run_id"
        }
    assert sum(len(minimum["runs"]) for minimum in document["minima"]) == len(document["runs"])


def test_fit_law_diverged_and_unfinished_runs_are_named_and_change_nothing_else(study):
    cells = read_sweep(study / "sweep.tsv")
    synthetic.write_cell(study / "runs/clm000", cells["clm000"], 9.0, status="diverged")
    (study / "runs/clm014/result.json").unlink()
    document = fit(study)
    assert {row["run_id"] for row in document["excluded"]} == {"clm000", "clm014"}
    assert all(row["why"] for row in document["excluded"])
    assert document["n_points"] == 13
    assert [row["n_runs"] for row in document["minima"]] == [4, 5, 4]


def test_fit_law_study_without_minima_still_writes_a_valid_file(tmp_path):
    synthetic.write_study(tmp_path, n_sizes=3)
    document = fit(tmp_path)
    assert document["status"] == "not_identified"
    assert document["equations"]["N"]["a"] is None
    assert document["warnings"]


def test_fit_law_without_resamples_has_null_intervals(study):
    document = fit(study, bootstrap=0)
    assert document["equations"]["N"]["interval"] == {"k": None, "a": None}


def test_fit_law_no_finished_run_of_the_objective_is_an_error(study):
    for result in study.glob("runs/mlm*/result.json"):
        result.unlink()
    with pytest.raises(LawError, match="none of 15 mlm runs is finished"):
        fit(study, objective="mlm")
    assert not (study / "laws/mlm.isoflop.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"law": "cubic"}, "no law named 'cubic'"),
        ({"objective": "gpt"}, "no gpt run; there are clm, mlm"),
        ({"level": 95.0}, "laws.level"),
        ({"bootstrap": 7}, "laws.bootstrap"),
        ({"law": "parametric", "huber_delta": 0.0}, "laws.huber_delta"),
    ],
)
def test_fit_law_wrong_setting_is_named(study, settings, message):
    with pytest.raises(LawError, match=message):
        fit(study, **settings)


def test_read_law_of_something_else_names_the_file(tmp_path):
    (tmp_path / "clm.isoflop.json").write_text('{"law": "isoflop"}')
    with pytest.raises(LawError, match=r"clm\.isoflop\.json: not a law file"):
        read_law(tmp_path / "clm.isoflop.json")
    with pytest.raises(LawError, match="no such law file"):
        read_law(tmp_path / "mlm.isoflop.json")
