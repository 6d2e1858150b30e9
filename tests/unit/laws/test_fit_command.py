"""`plm-scaling fit` on anybody's table."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest

import plm_scaling.laws
from plm_scaling.cli import main
from plm_scaling.laws.result import SCHEMA, read_law


def fit(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["plm-scaling", "fit", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr()


def own_table(n_runs=40):
    rng = np.random.default_rng(1)
    n = 10 ** rng.uniform(6, 9, n_runs)
    d = n * 10 ** rng.uniform(0.5, 2.5, n_runs)
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    return pd.DataFrame({"n_params": n, "tokens": d, "loss": loss})


def test_fit_of_three_columns_recovers_the_surface(tmp_path, monkeypatch, capsys):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    code, said = fit(
        monkeypatch, capsys, "parametric", "--runs", tmp_path / "own.csv", "--out", out
    )
    assert code == 0
    law = read_law(out)
    assert law.objective == "any"
    assert law.equations["L"].parameters["alpha"] == pytest.approx(0.34, rel=1e-3)
    assert law.equations["L"].parameters["beta"] == pytest.approx(0.28, rel=1e-3)
    assert "alpha" in said.out
    assert str(out) in said.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="loss"), "column(s) missing: loss"),
        (lambda t: t.assign(tokens=t["tokens"].where(t.index != 3, -5.0)), "line 5, column tokens"),
        (lambda t: t.assign(loss=t["loss"].where(t.index != 0, np.inf)), "line 2, column loss"),
        (lambda t: t.assign(loss=t["loss"].where(t.index != 0, np.nan)), "line 2, column loss"),
        (lambda t: t.head(5), "5 distinct run(s)"),
        (lambda t: t.assign(objective=["clm", "mlm"] * 20), "clm, mlm: say which"),
    ],
)
def test_fit_of_an_unusable_table_says_where_and_writes_nothing(
    tmp_path, monkeypatch, capsys, change, words
):
    change(own_table()).to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    code, _ = fit(monkeypatch, capsys, "parametric", "--runs", tmp_path / "own.csv", "--out", out)
    assert words in str(code)
    assert not out.exists()


def test_fit_of_the_joint_law_takes_both_objectives(tmp_path, monkeypatch, capsys):
    parts = []
    for objective, power in (("clm", 0.5), ("mlm", 0.7)):
        for flops in (1e18, 1e19, 1e20):
            best = 1e-2 * flops**power if objective == "clm" else 1e-5 * flops**power
            n = best * np.geomspace(0.5, 2, 7)
            loss = 30 * flops**-0.05 + 0.05 * np.log(n / best) ** 2
            parts.append(
                pd.DataFrame(
                    {"objective": objective, "n_params": n, "tokens": flops / 6 / n, "loss": loss}
                )
            )
    pd.concat(parts).to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    code, _ = fit(monkeypatch, capsys, "joint", "--runs", tmp_path / "own.csv", "--out", out)
    assert code == 0
    law = read_law(out)
    assert law.objective == "both"
    split = law.equations["C_mlm/C_clm"].parameters["s"]
    assert split == pytest.approx(1 / 0.7 - 1 / 0.5, rel=1e-3)  # from the inverses of both N(C)


@pytest.mark.parametrize("law", ["repeated", "transfer", "mask_ratio"])
def test_fit_of_a_law_that_the_table_cannot_carry_says_what_it_lacks(
    tmp_path, monkeypatch, capsys, law
):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    code, _ = fit(
        monkeypatch, capsys, law, "--runs", tmp_path / "own.csv", "--out", tmp_path / "law.json"
    )
    assert str(code).startswith("error: any " + law)


def test_fit_of_an_unknown_law_names_those_there_are(tmp_path, monkeypatch, capsys):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    code, _ = fit(
        monkeypatch, capsys, "chinchilla", "--runs", tmp_path / "own.csv", "--out", tmp_path / "x"
    )
    assert "parametric" in str(code)


def test_every_fit_is_found_in_the_package():
    for name in plm_scaling.laws.__all__:
        assert getattr(plm_scaling.laws, name) is not None
    with pytest.raises(AttributeError):
        _ = plm_scaling.laws.fit_nothing


def test_law_file_of_an_own_table_passes_the_schema(tmp_path, monkeypatch, capsys):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    fit(monkeypatch, capsys, "parametric", "--runs", tmp_path / "own.csv", "--out", out)
    jsonschema.validate(json.loads(out.read_text()), json.loads(SCHEMA.read_text()))
