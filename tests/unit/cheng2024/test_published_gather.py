"""Which files become one run, which of them is used, and when a run counts as finished."""

import numpy as np
import pytest

from plm_scaling.cheng2024.logs.curves import read_log
from plm_scaling.cheng2024.logs.gather import gather
from plm_scaling.cheng2024.logs.table import run_row, seeds
from plm_scaling.common.errors import RunsError

INTERVAL = 300 * 512 * 1024  # tokens per evaluation
UR50 = "data/training_logs/ur50_all1ep_valid_loss/{folder}/run-mlm_154M_{name}"
VALID = "-tag-lm-loss-validation_valid_lm loss validation vs tokens.csv"
PPL = "-tag-lm-loss-validation_valid_lm loss validation ppl vs tokens.csv"
TRAIN = "-tag-lm-loss-training_lm loss vs tokens.csv"


def curve_of(path, evaluations, seed=0, length=None):
    """A file whose evaluations are at these multiples of 300 steps, with its own noise."""
    rng = np.random.default_rng(seed)
    every = 2.0 + 0.9 * np.arange(1, 2001) ** -0.3 + rng.normal(0, 0.005, 2000)
    evaluations = np.asarray(evaluations, dtype=float)[:length]
    loss = every[np.ceil(evaluations).astype(int) - 1]
    value = np.exp(loss) if " ppl " in path else loss
    x = np.rint(evaluations * INTERVAL)
    rows = [f"{i},{a:.0f},{b:.17g}" for i, (a, b) in enumerate(zip(x, value, strict=True))]
    return read_log(path, "\n".join(["Wall time,Step,Value", *rows, ""]).encode())


def ur50(name, tag=VALID, folder="ur50_mlm_150M"):
    return UR50.format(folder=folder, name=name) + tag


def mask(size="85M", ratio="0.15"):
    return f"data/training_logs/mask_ratio_data/{size}/mask_{ratio}.csv"


def test_longest_curve_of_a_run_is_used_and_the_cut_one_named():
    whole = curve_of(ur50("ur50", PPL), np.arange(1, 41))
    cut = curve_of(ur50("ur50"), np.arange(1, 41), length=30)
    runs, _ = gather([cut, whole])
    assert len(runs) == 1
    assert runs[0].curve is whole
    assert runs[0].why == {cut.named.path: f"same run as {whole.named.path}, cut"}


def test_loss_is_preferred_to_perplexity_of_the_same_length():
    loss, ppl = (curve_of(ur50("ur50", tag), np.arange(1, 41)) for tag in (VALID, PPL))
    runs, _ = gather([ppl, loss])
    assert runs[0].curve is loss


def test_runs_of_equal_settings_are_numbered_by_seed():
    first = curve_of(ur50("ur50"), np.arange(1, 41), seed=1)
    rerun = curve_of(ur50("ur50_2"), np.arange(1, 41), seed=2)
    runs, _ = gather([first, rerun])
    assert [run.curve for run in runs] == [first, rerun]
    assert seeds(runs) == [1, 2]
    assert len({run_row(run, 1)["run_id"] for run in runs}) == 2


def test_same_losses_on_two_corpora_are_refused():
    one = curve_of(ur50("ur50"), np.arange(1, 41))
    other = curve_of(ur50("all1ep", folder="all1ep_mlm_150M"), np.arange(1, 41))
    with pytest.raises(RunsError, match="disagree on corpus"):
        gather([one, other])


def test_training_log_goes_to_the_run_of_its_name():
    first = curve_of(ur50("ur50"), np.arange(1, 41), seed=1)
    rerun = curve_of(ur50("ur50_2"), np.arange(1, 41), seed=2)
    train = curve_of(ur50("ur50_2", TRAIN).replace("valid_loss", "training_loss"), np.arange(1, 41))
    runs, without_run = gather([first, rerun, train])
    assert [run.training for run in runs] == [None, train]
    assert without_run == {}


def test_training_log_without_a_run_is_reported():
    run = curve_of(ur50("ur50"), np.arange(1, 41))
    train = curve_of(ur50("ur50", TRAIN).replace("valid_loss", "training_loss"), np.arange(1, 21))
    _, without_run = gather([run, train])
    assert list(without_run) == [train.named.path]
    assert "fits 0 runs" in without_run[train.named.path]


def test_run_that_stops_on_the_grid_short_of_its_plan_is_unfinished():
    """1 epoch is 200e9 tokens, 1271.6 evaluations."""
    (run,), _ = gather([curve_of(ur50("all1ep", folder="all1ep_mlm_150M"), np.arange(1, 641))])
    row = run_row(run, 1)
    assert row["status"] == "unfinished"
    assert row["excluded"] == "unfinished: stopped at 50% of the planned tokens"
    assert row["loss"] is None
    assert row["loss_last"] is not None


@pytest.mark.parametrize("evaluations", [np.arange(1, 1272), np.append(np.arange(1, 640), 639.4)])
def test_run_with_its_planned_tokens_or_a_closing_evaluation_is_finished(evaluations):
    (run,), _ = gather([curve_of(ur50("all1ep", folder="all1ep_mlm_150M"), evaluations)])
    row = run_row(run, 1)
    assert (row["status"], row["excluded"]) == ("finished", "")
    assert row["loss"] == pytest.approx(run.curve.loss[-5:].mean())


def test_run_of_unknown_planned_end_is_left_out():
    path = mask()
    rows = "\n".join(f"{i},{300 * i},{2.9 - 0.01 * i}" for i in range(1, 20))
    curve = read_log(path, f"Wall time,Step,Value\n{rows}\n".encode())
    (run,), _ = gather([curve])
    row = run_row(run, 1)
    assert row["status"] == "unfinished"
    assert "neither its name nor" in row["excluded"]
    assert (row["experiment"], row["mask_ratio"]) == ("mask_ratio", 0.15)
