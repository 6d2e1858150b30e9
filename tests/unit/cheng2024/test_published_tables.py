"""The tables of the real release, against facts read from its logs by hand (docs/files.md).

Losses are means of the last five evaluations in nats/token, first computed apart from this code.
"""

import time

import numpy as np
import pytest
from published import logs_or_skip

from plm_scaling.cheng2024.logs.importer import import_published
from plm_scaling.runs.tables import read_runs

EXPERIMENTS = {
    ("clm", "isoflop"): 115, ("clm", "production"): 1, ("clm", "repeated"): 4,
    ("clm", "transfer"): 5, ("mlm", "isoflop"): 84, ("mlm", "production"): 1,
    ("mlm", "repeated"): 6, ("mlm", "transfer"): 5, ("mlm", "transfer_scratch"): 2,
    ("mlm", "mask_ratio"): 16,
}  # fmt: skip


def the_run(imported, **facts):
    """The one run with these facts; floats to 1 %."""
    table = imported.runs
    for name, value in facts.items():
        column = table[name]
        near = isinstance(value, float) and value > 1
        table = table[np.isclose(column, value, rtol=0.01) if near else column == value]
    assert len(table) == 1, f"{len(table)} runs with {facts}"
    return table.iloc[0]


def test_every_file_is_audited_once_and_only_used_files_make_curves(imported):
    audit = imported.audit
    assert len(audit) == 294
    assert audit["path"].is_unique
    assert (audit["run_id"] != "").all()
    assert audit.loc[audit["used"] == "no", "notes"].str.contains("identical|same run").all()
    used = audit[audit["used"] == "yes"]
    validation = used[used["kind"] != "train"]
    assert set(validation["path"]) == set(imported.runs["source_file"])
    assert (validation.groupby("run_id").size() == 1).all()
    counts = audit.groupby("axis").size().to_dict()
    assert counts == {"gflops": 228, "tokens": 49, "samples": 1, "iterations": 16}
    assert (audit["kind"] == "train").sum() == 15
    assert (audit["kind"] == "perplexity").sum() == 10


def test_byte_identical_copies_make_one_run(imported):
    """17 of the 294 files are byte-identical extra copies; none starts a run."""
    audit = imported.audit
    copies = audit[audit["notes"].str.contains("byte-identical")]
    assert len(copies) == 294 - 277
    assert (copies["used"] == "no").all()
    owners = audit.groupby("sha256")["run_id"].nunique()
    assert (owners == 1).all()


def test_runs_by_objective_and_experiment(imported):
    assert imported.runs.groupby(["objective", "experiment"]).size().to_dict() == EXPERIMENTS
    assert imported.runs["run_id"].is_unique


def test_runs_table_can_be_read_by_every_law(imported):
    table = read_runs(imported.runs_file)
    assert len(table) == sum(EXPERIMENTS.values())
    np.testing.assert_allclose(table["flops"], 6 * table["n_params"] * table["tokens"])


def test_curves_end_where_their_runs_do_and_agree_with_their_losses(imported):
    valid = imported.curves[imported.curves["split"] == "valid"]
    by_run = dict(iter(valid.groupby("run_id")))
    assert set(by_run) == set(imported.runs["run_id"])
    for run in imported.runs.to_dict("records"):
        curve = by_run[run["run_id"]]
        assert curve["tokens"].is_monotonic_increasing
        assert curve["tokens"].iloc[-1] == run["tokens"]
        assert len(curve) == run["n_evals"]
        assert curve["loss"].between(1.5, 3.0).all()  # no perplexity, no training spike
        np.testing.assert_allclose(curve["flops"].iloc[-1], run["flops"])
        if run["status"] == "finished":
            assert curve["loss"].tail(5).mean() == pytest.approx(run["loss"], abs=1e-12)


def test_training_curves_end_with_their_runs(imported):
    train = imported.curves[imported.curves["split"] == "train"]
    ends = train.groupby("run_id")["tokens"].max()
    runs = imported.runs.set_index("run_id").loc[ends.index]
    assert len(ends) == 15
    np.testing.assert_allclose(ends, runs["tokens"], rtol=0.01)
    per_step = train.groupby("run_id").apply(lambda c: (c["tokens"] / c["step"]).unique().tolist())
    valid = imported.curves[imported.curves["split"] == "valid"].groupby("run_id").last()
    expected = (valid["tokens"] / valid["step"])[ends.index]  # 157M has the batch of the large ones
    assert per_step.to_dict() == {run_id: [tokens] for run_id, tokens in expected.items()}


def test_unfinished_runs_are_excluded_with_the_share_they_reached(imported):
    """Stopped runs; 154M at 9.3e19 is none: it ends off the 300-step grid, at 0.50 epochs."""
    excluded = imported.runs[imported.runs["excluded"] != ""]
    assert (excluded["status"] == "unfinished").all()
    assert excluded["loss"].isna().all()
    shares = {
        (run.objective, round(run.n_params / 1e6)): run.excluded.split(" at ")[1].split(" ")[0]
        for run in excluded.itertuples()
    }
    assert shares == {
        ("clm", 1209): "6%", ("clm", 170): "86%", ("mlm", 106): "72%", ("mlm", 85): "13%",
    }  # fmt: skip
    short = the_run(imported, objective="clm", n_params=154_333_600, flops=9.316e19)
    assert short.status == "finished"
    assert "its name says 1e+20" in short.notes


@pytest.mark.parametrize(
    ("objective", "n_params", "flops", "loss", "note"),
    [
        # flops is 6·N·tokens with the true N, not what the axis says
        ("mlm", 1_208_618_992, 1.4486e21, 1.9328, "computed with N=1e+09"),  # logged 1.1985e21
        ("mlm", 1_784_557_056, 1.0001e21, 2.0000, "computed with N=1.53e+09"),  # logged 8.57e20
        ("mlm", 550_982_808, 3.0016e19, 2.3193, "computed with N=4.723e+08"),  # logged 2.57e19
        ("mlm", 550_982_808, 3.0017e20, 2.0552, "1 first point of another model"),
        ("mlm", 10_686_691_476, 1.7242e22, 1.8054, "1 first point of another model"),
        ("clm", 170_105_856, 2.0413e20, 2.3572, "not from the name '127M'"),
    ],
)
def test_wrong_flops_axis_is_corrected(imported, objective, n_params, flops, loss, note):
    run = the_run(
        imported, objective=objective, n_params=n_params, flops=flops, seed=1, corpus="unimeta200b"
    )
    assert run.flops == pytest.approx(flops, rel=2e-4)
    assert run.loss == pytest.approx(loss, abs=1e-4)
    assert note in run.notes


def test_corrected_curves_start_at_the_first_evaluation(imported):
    valid = imported.curves[imported.curves["split"] == "valid"]
    assert set(valid.groupby("run_id")["step"].first()) == {300}


def test_production_runs(imported):
    """C=1.151e22 and D=264.6e9; C=1.724e22 and D=269.0e9."""
    clm = the_run(imported, experiment="production", objective="clm")
    mlm = the_run(imported, experiment="production", objective="mlm")
    assert (clm.n_params, mlm.n_params) == (7_249_584_080, 10_686_691_476)
    assert (clm.loss, clm.loss_last) == (
        pytest.approx(2.0125, abs=1e-4),
        pytest.approx(2.0183, abs=1e-4),
    )
    assert (mlm.loss, mlm.loss_last) == (
        pytest.approx(1.8054, abs=1e-4),
        pytest.approx(1.7978, abs=1e-4),
    )
    assert clm.tokens == pytest.approx(264.5e9, rel=1e-3)
    assert mlm.tokens == pytest.approx(269.0e9, rel=1e-3)


@pytest.mark.parametrize(
    ("objective", "size", "source", "tokens", "scratch", "transferred"),
    [
        ("mlm", 33_625_088, 1e18, 49.5e9, 2.2884, 2.2749),
        ("mlm", 85_068_288, 5.2e18, 58.7e9, 2.2122, 2.1897),
        ("mlm", 202_562_290, 2.3e19, 82.4e9, 2.1293, 2.1035),
        ("mlm", 472_271_344, 1e20, 106.0e9, 2.0577, 2.0325),
        ("mlm", 1_208_618_992, 5.3e20, 138.0e9, 1.9777, 1.9439),
        ("clm", 127_601_664, 5.5e19, 13.1e9, 2.5133, 2.4699),
        ("clm", 231_499_504, 1.18e20, 21.6e9, 2.4414, 2.4282),
        ("clm", 472_271_344, 3e20, 35.3e9, 2.3630, 2.3524),
        ("clm", 886_820_748, 6.7e20, 56.4e9, 2.2997, 2.2914),
        ("clm", 1_784_557_056, 1.65e21, 100.1e9, 2.2034, 2.2005),
    ],
)
def test_transfer_pairs(imported, objective, size, source, tokens, scratch, transferred):
    """Means over the last 2 % of the points; each transferred run has its run from scratch."""
    common = {"objective": objective, "n_params": size, "tokens": float(tokens)}
    moved = the_run(imported, experiment="transfer", **common)
    assert moved.source_flops == source
    assert moved.init_from == f"{'clm' if objective == 'mlm' else 'mlm'}:{source:g}"
    first = the_run(imported, init_from="", corpus="unimeta200b", **common)
    for run, expected in ((first, scratch), (moved, transferred)):
        curves = imported.curves
        curve = curves[(curves["run_id"] == run.run_id) & (curves["split"] == "valid")]["loss"]
        last = max(5, round(0.02 * len(curve)))
        assert curve.tail(last).mean() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("n_params", "losses"),
    [
        (85_068_288, [2.3050, 2.2814, 2.2844, 2.2972, 2.3176, 2.3321, 2.3731, 2.4738]),
        (154_333_600, [2.1953, 2.1798, 2.1822, 2.1906, 2.2096, 2.2289, 2.2722, 2.4015]),
    ],
)
def test_mask_ratio_runs(imported, n_params, losses):
    runs = imported.runs.query("experiment == 'mask_ratio' and n_params == @n_params")
    runs = runs.sort_values("mask_ratio")
    assert list(runs["mask_ratio"]) == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6]
    np.testing.assert_allclose(runs["loss"], losses, atol=1e-4)
    expected = {85_068_288: 30.0e9, 154_333_600: 53.5e9}[n_params]
    np.testing.assert_allclose(runs["tokens"], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("objective", "n_params", "on_unimeta", "on_ur50"),
    [
        ("clm", 157_000_000, [2.3759], [2.4178]),
        ("clm", 1_208_618_992, [2.1863], [2.2662]),
        ("clm", 2_833_956_224, [2.1094], [2.2191]),
        ("mlm", 154_333_600, [2.1108, 2.1083], [2.1447, 2.1363]),  # each with a rerun
        ("mlm", 2_833_956_224, [1.8746], [2.1759, 2.1765, 2.1840]),  # three data orders
    ],
)
def test_runs_on_repeated_data_and_their_partners(
    imported, objective, n_params, on_unimeta, on_ur50
):
    table = imported.runs.query("objective == @objective and n_params == @n_params")
    table = table[np.isclose(table["tokens"], 200e9, rtol=0.005)]
    for corpus, losses in (("unimeta200b", on_unimeta), ("ur50", on_ur50)):
        found = table.loc[table["corpus"] == corpus, "loss"]
        np.testing.assert_allclose(sorted(found), sorted(losses), atol=1e-4)
    assert set(table.loc[table["corpus"] == "ur50", "unique_tokens"]) == {15.4e9}


def test_reruns_have_different_seeds_and_named_data_orders(imported):
    ur50 = imported.runs.query("corpus == 'ur50' and objective == 'mlm'")
    small = ur50[ur50["n_params"] < 1e9]
    assert sorted(small["seed"]) == [1, 2]
    large = ur50[ur50["n_params"] > 1e9]
    assert list(large["seed"]) == [1, 1, 1]
    assert sorted(large["notes"]) == ["", "data order: epoch shuffle", "data order: full shuffle"]


def test_notebook_points_are_the_files_unchanged(imported):
    points = imported.notebook
    assert points.groupby("objective")["file"].count().gt(0).all()
    folders = points[["objective", "folder"]].drop_duplicates()
    clm = list(folders.loc[folders["objective"] == "clm", "folder"])
    assert clm.index("6M_flops") < clm.index("13M_flops") < clm.index("1.2B_flops")
    unmapped = points.loc[points["nominal_n"].isna(), "folder"].unique()
    assert set(unmapped) == {"280M", "609M_flops", "736M_flops"}
    unread = points.loc[~points["read"], "file"].unique()
    assert len(unread) == 1
    assert unread[0].startswith("dep-run-gpt_7b")
    wrong_axis = points[points["file"].str.startswith("run-mlm_1b_all1ep")]
    assert wrong_axis["gflops_raw"].iloc[-1] == 1_198_522_368_000  # not corrected
    second = wrong_axis.iloc[1]
    assert (second["row"], second["nominal_tokens"]) == (1, 1024 * 1024 * 300)


def test_import_is_fast_and_reproducible_to_the_byte(imported, tmp_path):
    start = time.process_time()
    names = ["runs.csv", "curves.parquet", "audit.csv", "notebook_points.parquet"]
    import_published(*(tmp_path / name for name in names), logs=logs_or_skip())
    assert time.process_time() - start < 5
    for name in names:
        assert (tmp_path / name).read_bytes() == (imported.folder / name).read_bytes()
