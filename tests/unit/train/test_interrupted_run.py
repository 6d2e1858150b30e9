"""A run that is killed at any moment, or asked to stop, ends like an uninterrupted one."""

import contextlib
import os
import random
import signal
import time
from unittest import mock

import pandas as pd
import pytest
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from forks import exit_code, fork, start_job
from training import asked_to_stop, curve_of, result_of, run_cell, small_cell, trained

from plm_scaling.common.files import read_json
from plm_scaling.common.slurm_job import MAY_QUEUE_AGAIN
from plm_scaling.study.layout import Layout
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.cell import _Training
from plm_scaling.train.output.starts import read_starts
from plm_scaling.train.stop import EXIT_STOPPED, SIGNALS


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("kills", "resumes"), [(2, 1), pytest.param(20, 3, marks=pytest.mark.long)]
)
def test_a_run_killed_at_random_moments_has_the_curve_of_an_uninterrupted_one(
    root, manifest, tmp_path, kills, resumes, backend
):
    """After at least so many kills, and so many resumes in the middle of a run; on GPUs training
    goes on while a checkpoint is written."""
    options = {"checkpoint_seconds": 0.1, "layout": Layout(backend, 1, 1, 1, 4, "none")}

    def run(action, folder):
        with cuda_on_cpu() if backend == "cuda" else contextlib.nullcontext():
            return action(cell, manifest, folder, **options)

    cell = small_cell(root, "mlm", steps=80, evaluations=8)
    begin = time.monotonic()
    result, unbroken = run(trained, tmp_path / "unbroken")
    seconds = time.monotonic() - begin
    rng = random.Random(7)
    killed = ended = 0
    while (few := killed < kills or resumed_in_the_middle(cell, tmp_path) < resumes) or not ended:
        folder = tmp_path / f"run{ended}"
        process = fork(lambda: run(run_cell, folder))  # noqa: B023
        if few:
            time.sleep(rng.uniform(0, 0.7 * seconds))
            os.kill(process, signal.SIGKILL)
        code = exit_code(process)
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        if result_of(cell, folder).exists():  # it may be killed after that, on its way out
            ended += 1
            pd.testing.assert_frame_equal(curve_of(cell, folder), unbroken, check_exact=True)
            resumed = read_json(result_of(cell, folder))
            same = ("loss", "loss_last", "n_evals", "tokens", "unpadded_tokens", "status")
            assert [resumed[key] for key in same] == [result[key] for key in same]
        else:
            assert code != 0
            assert killed <= 50 * kills, "no run resumes in its middle"


def resumed_in_the_middle(cell, folder):
    """How many starts of all runs in `folder` were neither at the beginning nor at the end."""
    starts = [s for path in folder.glob("run*/runs/*/starts.json") for s in read_starts(path)]
    return sum(0 < start["step"] < cell.steps for start in starts)


def wait_for_evaluations(cell, folder, n, processes):
    """Until the curve has the rows of `n` evaluations; fails if a process ends before."""
    curve = result_of(cell, folder).with_name("curve.csv")
    while not curve.exists() or curve.read_text().count(",valid,") < n:
        for process in processes:
            assert os.waitpid(process, os.WNOHANG) == (0, 0), "the run ended too early"
        time.sleep(0.005)


def test_signals_save_a_checkpoint_and_no_step_is_lost(root, manifest, tmp_path):
    cell = small_cell(root, steps=600, evaluations=12)
    result, unbroken = trained(cell, manifest, tmp_path / "unbroken")
    for n, number in enumerate(SIGNALS):
        process = fork(lambda: run_cell(cell, manifest, tmp_path))
        wait_for_evaluations(cell, tmp_path, 3 * n + 1, [process])
        os.kill(process, number)
        assert exit_code(process) == EXIT_STOPPED
        assert not result_of(cell, tmp_path).exists()
    again, curve = trained(cell, manifest, tmp_path)
    pd.testing.assert_frame_equal(curve, unbroken, check_exact=True)
    assert again["loss"] == result["loss"]
    # Each resumes after the evaluation that the signal followed: the checkpoint was made then.
    resumed = [start["step"] for start in again["starts"]]
    assert all(step >= 50 * (3 * n + 1) for n, step in enumerate(resumed[1:]))


@contextlib.contextmanager
def signalled(owner, name, when=lambda: True):
    """Within the block a run gets SIGTERM as it calls this function before its first step."""
    real = getattr(owner, name)

    def asked(*arguments, **options):
        if when():
            signal.raise_signal(signal.SIGTERM)
        return real(*arguments, **options)

    with mock.patch.object(owner, name, asked):
        yield


@pytest.mark.parametrize(("owner", "name"), [(TokenCorpus, "open"), (_Training, "begin")])
def test_a_signal_before_the_first_step_is_obeyed_at_once(
    root, manifest, tmp_path, caplog, owner, name
):
    """Also where a run resumes: the checkpoint that is there stays the last."""
    cell = small_cell(root)
    result, unbroken = trained(cell, manifest, tmp_path / "unbroken")
    with asked_to_stop(step=7), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path)
    caplog.set_level("INFO")
    with signalled(owner, name), pytest.raises(SystemExit) as end:
        run_cell(cell, manifest, tmp_path)
    assert end.value.code == EXIT_STOPPED
    assert f"cell {cell.cell} stops before its first step (signal 15)" in caplog.text
    checkpoints = result_of(cell, tmp_path).with_name("checkpoints")
    assert [path.name for path in checkpoints.glob("step-*")] == ["step-000000007"]
    again, curve = trained(cell, manifest, tmp_path)
    pd.testing.assert_frame_equal(curve, unbroken, check_exact=True)
    assert again["loss"] == result["loss"]


def test_all_processes_stop_before_the_first_step_when_one_is_asked_to(root, manifest, tmp_path):
    cell = small_cell(root)
    layout = Layout("cpu", 1, 1, 2, 2, "none")

    def run():
        with signalled(_Training, "begin", when=lambda: os.environ["RANK"] == "1"):
            run_cell(cell, manifest, tmp_path, layout=layout)

    processes = start_job(2, run, tmp_path / "job")
    assert [exit_code(process) for process in processes] == [EXIT_STOPPED] * 2
    assert not [*result_of(cell, tmp_path).with_name("checkpoints").glob("step-*")]


def test_before_the_end_of_its_job_a_cell_saves_and_has_the_job_queued_again(
    root, manifest, tmp_path, monkeypatch
):
    """Each start makes a step. After a signal, such as scancel's, nothing is queued."""
    cell = small_cell(root, steps=4, evaluations=2)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "squeue").write_text("#!/bin/sh\necho 0:10\n")
    (commands / "scontrol").write_text(f"#!/bin/sh\necho $* >> {commands}/asked\n")
    for command in commands.iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    for name in ("SLURM_JOB_ID", MAY_QUEUE_AGAIN):
        monkeypatch.setenv(name, "77")
    with asked_to_stop(1), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path)
    assert not (commands / "asked").exists()
    for _ in range(3):
        with pytest.raises(SystemExit):
            run_cell(cell, manifest, tmp_path)
    assert (commands / "asked").read_text() == "requeue 77\n" * 3
    run_cell(cell, manifest, tmp_path)
    assert [s["step"] for s in read_json(result_of(cell, tmp_path))["starts"]] == [0, 1, 2, 3, 4]


def test_all_processes_stop_when_one_is_asked_to(root, manifest, tmp_path):
    cell = small_cell(root, steps=600, evaluations=12)
    layout = Layout("cpu", 1, 1, 2, 2, "none")
    processes = start_job(
        2, lambda: run_cell(cell, manifest, tmp_path, layout=layout), tmp_path / "job"
    )
    wait_for_evaluations(cell, tmp_path, 1, processes)
    os.kill(processes[1], signal.SIGTERM)
    assert [exit_code(process) for process in processes] == [EXIT_STOPPED] * 2
    checkpoints = result_of(cell, tmp_path).with_name("checkpoints")
    assert len(list(checkpoints.glob("step-*"))) == 1
