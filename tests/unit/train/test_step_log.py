"""steps.csv and the event files of TensorBoard show how a cell trains, and change nothing."""

import dataclasses
import time

import pandas as pd
import pytest
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from forks import run_job
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import asked_to_stop, result_of, run_cell, small_cell, trained, whole

from plm_scaling.common.errors import TrainError
from plm_scaling.study.layout import Layout
from plm_scaling.train.data.feed import Feed
from plm_scaling.train.distributed.collective import rank
from plm_scaling.train.engine.optimizer import learning_rate
from plm_scaling.train.output import tensorboard
from plm_scaling.train.output.steps import MEASURED, StepFile, Stragglers


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cell(root):
    return small_cell(root)


def steps_of(cell, folder):
    return pd.read_csv(result_of(cell, folder).with_name("steps.csv"))


@pytest.fixture(scope="module")
def unbroken(cell, manifest, tmp_path_factory):
    """Record, curve and steps of a run without a break."""
    folder = tmp_path_factory.mktemp("unbroken")
    return *trained(cell, manifest, folder), steps_of(cell, folder)


def test_steps_are_those_that_the_curve_averages(cell, unbroken):
    result, curve, rows = unbroken
    assert tuple(rows.columns) == StepFile.columns
    assert list(rows.step) == list(range(1, cell.steps + 1))
    assert (rows.tokens == rows.step * 256).all()
    assert list(rows.learning_rate) == [learning_rate(step, cell) for step in rows.step]
    means = rows.groupby((rows.step - 1) // 10)[["loss", "gradient_norm"]].mean()
    of_curve = curve[curve.split == "train"]
    for column in means:
        assert list(means[column]) == pytest.approx(list(of_curve[column]), rel=1e-12)
    assert (rows.skipped_steps == 0).all()
    assert rows.utilisation.isna().all()  # no peak is known of a CPU
    seconds = (256 / rows.tokens_per_second).sum()
    assert seconds == pytest.approx(result["wall_seconds"], rel=0.01)
    assert (rows.slowest_seconds == rows.fastest_seconds).all()
    assert 0 < rows.slowest_seconds.sum() < seconds


@pytest.mark.parametrize("count", [8, 12])
def test_long_run_has_the_rows_asked_for_and_one_of_the_last_step(
    cell, manifest, unbroken, tmp_path, count
):
    shown = dataclasses.replace(whole(cell), step_log_rows=count)
    run_cell(cell, manifest, tmp_path, layout=shown)
    rows = steps_of(cell, tmp_path)
    assert list(rows.step) == {8: [*range(8, 60, 8), 60], 12: [*range(5, 61, 5)]}[count]
    same = unbroken[2].set_index("step").loc[rows.step].reset_index()
    pd.testing.assert_frame_equal(
        rows.drop(columns=[*MEASURED]), same.drop(columns=[*MEASURED]), check_exact=True
    )


def assert_events_are_the_tables(folder, rows):
    """TensorBoard's reader finds each number of steps.csv and curve.csv, and no other."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    curve = pd.read_csv(folder / "curve.csv")
    expected = {name: rows[["step", name]] for name in rows.columns[1:] if name != "utilisation"}
    of_split = curve.groupby("split")[["step", "loss"]]
    expected |= {f"loss/{split}": pair for split, pair in of_split}
    assert set(events.Tags()["scalars"]) == set(expected)
    for name, pair in expected.items():
        found = events.Scalars(name)
        assert [event.step for event in found] == list(pair.step), name
        values = list(pair[pair.columns[1]])
        assert [event.value for event in found] == pytest.approx(values, rel=1e-6), name


def test_resume_cuts_steps_and_events_at_its_checkpoint(cell, manifest, unbroken, tmp_path):
    shown = dataclasses.replace(whole(cell), tensorboard=True)
    with asked_to_stop(35), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path, layout=shown)
    folder = result_of(cell, tmp_path).parent
    assert_events_are_the_tables(folder, steps_of(cell, tmp_path))
    with (folder / "steps.csv").open("a") as file:
        file.write(
            "36,9216,1,1,1,0,1,,1,1,0\n\0\0\n35,8960,2."
        )  # after it; damaged; torn by a kill
    _, curve = trained(cell, manifest, tmp_path, layout=shown)
    pd.testing.assert_frame_equal(curve, unbroken[1], check_exact=True)
    rows = steps_of(cell, tmp_path)
    pd.testing.assert_frame_equal(
        rows.drop(columns=[*MEASURED]), unbroken[2].drop(columns=[*MEASURED]), check_exact=True
    )
    assert_events_are_the_tables(folder, rows)


def test_tensorboard_that_is_not_installed_is_said_before_training(
    cell, manifest, tmp_path, monkeypatch
):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(TrainError, match=r"training\.tensorboard: .* not installed; `pip install"):
        run_cell(
            cell, manifest, tmp_path, layout=dataclasses.replace(whole(cell), tensorboard=True)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_slow_replica_is_named(root, manifest, tmp_path, backend):
    """Though the replicas wait for one another in every step."""
    cell, layout = small_cell(root, steps=12, evaluations=1), Layout(backend, 1, 1, 2, 2, "none")

    class SlowFeed(Feed):
        def at(self, step):
            time.sleep(0.3 * rank())
            return super().at(step)

    def job():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("plm_scaling.train.cell.Feed", SlowFeed)
            if backend == "cpu":
                return run_cell(cell, manifest, tmp_path, layout=layout)
            with cuda_on_cpu():
                return run_cell(cell, manifest, tmp_path, layout=layout)

    run_job(2, job, tmp_path / "job")
    rows = steps_of(cell, tmp_path)
    # The machine may hold up either in a step, and be slow for both.
    assert rows.slowest_rank.median() == 1
    assert (rows.slowest_seconds >= rows.fastest_seconds).all()
    assert rows.slowest_seconds.median() > 0.3
    assert (rows.slowest_seconds - rows.fastest_seconds).median() > 0.1


def test_straggler_is_logged_once_it_lasts(caplog):
    stragglers = Stragglers(Layout("cuda", 1, 1, 4, 1, "none"))
    fast, slow, other = [1.0, 1.1, 1.05, 1.05], [1.0, 1.1, 1.3, 1.05], [1.0, 1.3, 1.1, 1.05]
    for seconds in [*[slow] * 9, fast, *[slow] * 9, other, *[slow] * 9]:
        assert stragglers.watch(seconds) == (seconds.index(max(seconds)), max(seconds), 1.0)
    assert not caplog.records
    for _ in range(20):
        stragglers.watch(slow)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "process 2 is slow: 1.3 s a step where the fastest takes 1, for 10 rows of steps.csv"
    ]


def test_pipeline_stages_are_not_compared():
    stragglers = Stragglers(Layout("cuda", 1, 2, 2, 1, "none"))
    assert stragglers.watch([3.0, 3.1, 1.0, 1.1]) == (3, 1.1, 1.0)
