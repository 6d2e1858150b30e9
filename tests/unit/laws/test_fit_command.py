"""`plm-scaling fit` on anybody's table."""

import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

import plm_scaling.laws
from plm_scaling.cli.main import main
from plm_scaling.laws.result import read_law
from plm_scaling.laws.schema import law_schema


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
    again = ("--runs", tmp_path / "own.csv", "--out", out, "--json")
    _, said = fit(monkeypatch, capsys, "parametric", *again)
    assert json.loads(said.out) == json.loads(out.read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="loss"), "1 column missing: loss"),
        (lambda t: t.assign(tokens=t["tokens"].where(t.index != 3, -5.0)), "line 5, column tokens"),
        (lambda t: t.assign(loss=t["loss"].where(t.index != 0, np.inf)), "line 2, column loss"),
        (lambda t: t.head(5), "5 distinct runs"),
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runs", "law.json"], "law.json: not a CSV table"),
        (["--curves", "own.csv"], "own.csv: not a Parquet table"),
        (["--seed", "-1"], "laws.seed is -1; give 0 or more"),
        (["--objective", "clm"], "no clm run; the table has no column objective"),
    ],
)
def test_fit_of_wrong_files_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    own_table().to_csv("own.csv", index=False)
    Path("law.json").write_text('{\n"a": 1,\n"b": [1, 2, 3]\n}\n')
    given = {"--runs": "own.csv", "--out": "new.json"} | {words[0]: words[1]}
    options = [word for pair in given.items() for word in pair]
    code, _ = fit(monkeypatch, capsys, "parametric", *options, "--bootstrap", "0")
    assert message in str(code)
    assert "\n" not in str(code)
    assert {path.name for path in tmp_path.iterdir()} == {"own.csv", "law.json"}


def test_law_that_cannot_be_written_is_refused_before_the_fit(tmp_path, monkeypatch, capsys):
    """The table is not even looked for."""
    monkeypatch.chdir(tmp_path)
    Path("folder.json").mkdir()
    code, said = fit(monkeypatch, capsys, "parametric", "--runs", "none", "--out", "folder.json")
    assert code == 2
    assert "folder.json" in said.err
    assert "it is a folder" in said.err


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
    assert law.selection == {"given": 42, "used": 42, "left_out": {}}
    split = law.equations["C_mlm/C_clm"].parameters["s"]
    assert split == pytest.approx(1 / 0.7 - 1 / 0.5, rel=1e-3)  # from the inverses of both N(C)


def test_fit_of_the_joint_law_without_objectives_says_what_the_table_lacks(
    tmp_path, monkeypatch, capsys
):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    code, _ = fit(monkeypatch, capsys, "joint", "--runs", tmp_path / "own.csv", "--out", "law.json")
    assert "the table has no column objective" in str(code)
    assert "40 of 40 runs" in str(code)


def test_fit_counts_empty_losses_and_takes_maps_and_standard_input(tmp_path, monkeypatch, capsys):
    table = own_table().assign(loss=lambda t: t["loss"].where(t.index > 1))
    table["n_params"] /= 1e6
    content = table.rename(columns={"n_params": "size (M)", "loss": "L"}).to_csv(index=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    out, said = tmp_path / "law.json", "38 of 40 runs used (left out: 2 loss is empty)"
    maps = ("--map", "size (M)*1e6=n_params", "--map", "L=loss")
    code, terminal = fit(
        monkeypatch, capsys, "parametric", "--runs", "-", "--out", out, *maps, "--bootstrap", 0
    )
    assert code == 0, code
    assert said in terminal.out.splitlines()[0]
    law = read_law(out)
    assert law.selection == {"given": 40, "used": 38, "left_out": {"loss is empty": 2}}
    assert [row["run_id"] for row in law.excluded] == ["line 2", "line 3"]
    assert law.data["runs"] == "standard input"
    assert law.equations["L"].parameters["alpha"] == pytest.approx(0.34, rel=1e-3)


def test_fit_of_suspected_units_warns_in_the_law_file(tmp_path, monkeypatch, capsys):
    own_table().assign(tokens=lambda t: t["tokens"] / 1e9).to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    arguments = ("--runs", tmp_path / "own.csv", "--out", out, "--bootstrap", 0)
    _, said = fit(monkeypatch, capsys, "parametric", *arguments)
    assert '--map "tokens*1e9=tokens"' in said.out
    assert any("billions" in warning for warning in read_law(out).warnings)


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
        monkeypatch,
        capsys,
        "chinchilla",
        "--runs",
        tmp_path / "own.csv",
        "--out",
        tmp_path / "x.json",
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
    law_file = json.loads(out.read_text())
    jsonschema.validate(law_file, law_schema(law_file["law"]))


def every_kind():
    """Runs that every law can take some of, and some that only their `recipe` tells apart."""
    rows = []
    for flops in (1e18, 1e19, 1e20):
        best = 1e-2 * flops**0.5
        for n in best * np.geomspace(0.25, 4, 7):
            loss = 30 * flops**-0.05 + 0.02 * np.log(n / best) ** 2
            rows.append({"n_params": n, "tokens": flops / 6 / n, "loss": loss})
    table = pd.DataFrame(rows)
    table["unique_tokens"], table["mask_ratio"] = table["tokens"], 0.15
    first = table.iloc[:7]
    ladder = pd.DataFrame(
        {
            "n_params": 1e7, "tokens": 1e9, "unique_tokens": 1e9, "mask_ratio": ratio,
            "loss": 2.5 + 0.1 * np.log(ratio / 0.15) ** 2,
        }
        for ratio in (0.05, 0.1, 0.15, 0.2, 0.3)
    )  # fmt: skip
    again = first.assign(unique_tokens=first["tokens"] / 8, loss=first["loss"] + 0.2)
    moved = table.iloc[::7].assign(init_from="clm", source_flops=1e17, loss=table["loss"] - 0.1)
    parts = [table, ladder, again, moved]
    other = table.assign(recipe="y", loss=table["loss"] + 1)
    kinds = pd.concat([part.assign(recipe="x") for part in parts] + [other], ignore_index=True)
    kinds["objective"], kinds["masking"] = "mlm", "bert"
    return kinds.fillna({"init_from": ""})


# a grid of 21, 5 of a ladder (one at 0.15, one far above the best), 7 that repeat, 3 transferred
TAKEN = {
    "isoflop": 21, "parametric": 22, "frontier": 29, "repeated": 29, "transfer": 6, "mask_ratio": 4,
}  # fmt: skip


@pytest.mark.parametrize("law", TAKEN)
@pytest.mark.parametrize("column", ["recipe", "masking"])
def test_first_line_says_how_many_of_how_many_runs_and_why_not_the_others(
    tmp_path, monkeypatch, capsys, law, column
):
    table = every_kind()
    if column == "masking":
        table["masking"] = table["recipe"].map({"x": "bert", "y": "token"})
        table["recipe"] = "x"
    table.to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    code, said = fit(
        monkeypatch, capsys, law, "--runs", tmp_path / "own.csv", "--out", out, "--bootstrap", 0
    )
    assert code == 0, code
    common = {"recipe": "x", "masking": "bert"}[column]
    first = said.out.splitlines()[0]
    assert f"{TAKEN[law]} of 57 runs used" in first
    assert f"21 {column} is not {common}, the most common" in first
    assert "57 runs used" not in said.err  # once
    law_file = json.loads(out.read_text())
    found = law_file["selection"]
    assert found["given"] == 57
    assert found["used"] == TAKEN[law] == 57 - sum(found["left_out"].values())
    named = {row["run_id"] for row in law_file["excluded"]}
    assert named >= {f"line {row + 2}" for row in np.flatnonzero(table[column] != common)}
    assert len(named) == 57 - found["used"] or law in ("isoflop", "mask_ratio")


def test_first_line_counts_runs_of_many_epochs(tmp_path, monkeypatch, capsys):
    table = own_table(60)
    table.assign(unique_tokens=table["tokens"] / np.where(table.index < 25, 9, 1)).to_csv(
        tmp_path / "own.csv", index=False
    )
    out = tmp_path / "law.json"
    _, said = fit(monkeypatch, capsys, "parametric", "--runs", tmp_path / "own.csv", "--out", out)
    assert "35 of 60 runs used (left out: 25 more than 4 epochs)" in said.out.splitlines()[0]


def test_fit_that_fails_says_what_it_was_left_with(tmp_path, monkeypatch, capsys):
    table = own_table(20)
    table.assign(recipe=["x"] * 11 + ["y"] * 9).to_csv(tmp_path / "own.csv", index=False)
    out = tmp_path / "law.json"
    code, _ = fit(monkeypatch, capsys, "transfer", "--runs", tmp_path / "own.csv", "--out", out)
    assert "11 of 20 runs used (left out: 9 recipe is not x" in str(code)


def repeats(penalty=0.0):
    """Fresh runs and runs of up to 30 epochs of the surface of `own_table`."""
    n, u, epochs = (x.ravel() for x in np.meshgrid([1e7, 3e7, 1e8], [3e9, 1e10, 3e10], [1, 5, 30]))
    worth = u * (1 + 15 * (1 - np.exp(-(epochs - 1) / 15))) if not penalty else u * epochs
    loss = 1.7 + 400 / n**0.34 + 410 / worth**0.28 + penalty * (epochs - 1)
    return pd.DataFrame({"n_params": n, "tokens": u * epochs, "unique_tokens": u, "loss": loss})


def test_fit_repeated_takes_its_base_from_a_law_file(tmp_path, monkeypatch, capsys):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    repeats().tail(20).to_csv(tmp_path / "again.csv", index=False)
    base, out = tmp_path / "base.json", tmp_path / "law.json"
    fit(monkeypatch, capsys, "parametric", "--runs", tmp_path / "own.csv", "--out", base)
    again = ("repeated", "--runs", tmp_path / "again.csv", "--out", out, "--bootstrap", 100)
    code, said = fit(monkeypatch, capsys, *again, "--base", base)
    assert code == 0, said.err
    law = read_law(out)
    assert law.details["base_given"]
    assert law.equations["D_eff"].parameters["R_D"] == pytest.approx(15, rel=0.01)
    code, _ = fit(monkeypatch, capsys, *again, "--base", tmp_path / "absent.json")
    assert "absent.json: no such law file" in code


def test_fit_repeated_names_the_column_that_it_needs(tmp_path, monkeypatch, capsys):
    own_table().to_csv(tmp_path / "own.csv", index=False)
    code, _ = fit(
        monkeypatch,
        capsys,
        "repeated",
        "--runs",
        tmp_path / "own.csv",
        "--out",
        tmp_path / "law.json",
    )
    assert "column unique_tokens is missing or empty" in code


def test_fit_repeated_says_in_its_first_line_that_repeats_add_to_the_loss(
    tmp_path, monkeypatch, capsys
):
    repeats(penalty=0.01).to_csv(tmp_path / "again.csv", index=False)
    out = tmp_path / "law.json"
    again = ("--runs", tmp_path / "again.csv", "--out", out, "--bootstrap", 100)
    code, said = fit(monkeypatch, capsys, "repeated", *again)
    assert code == 0, said.err
    assert "R repetitions add c·R^1 nats" in said.out.splitlines()[0]
    jsonschema.validate(json.loads(out.read_text()), law_schema("repeated"))
