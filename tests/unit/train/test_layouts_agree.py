"""One process, replicas, divided matrices and pipeline stages: the same losses to rounding."""

import contextlib
import dataclasses
import errno
import itertools
import math
import shutil
import time
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from cell_fixtures import MUP
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from forks import run_job
from training import UNBROKEN, asked_to_stop, curve_of, result_of, run_cell, small_cell

from plm_scaling.common.errors import TrainError
from plm_scaling.common.files import read_json
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.checkpoint import store
from plm_scaling.train.checkpoint.store import load_weights
from plm_scaling.train.data.feed import Feed
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.engine.optimizer import learning_rate
from plm_scaling.train.evaluate import held_out

STEPS, HALF = 8, 4
ONE = Layout("cpu", 1, 1, 1, 4, "none")
TENSOR = Layout("cpu", 2, 1, 1, 4, "none")
DATA = Layout("cpu", 1, 1, 2, 2, "none")
CUDA_DATA = Layout("cuda", 1, 1, 2, 1, "none")
CUDA_TENSOR = Layout("cuda", 2, 1, 1, 4, "none")
SHAPE = Shape(2, 16, 42, 2)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def cell_for(root, objective, recipe, steps=STEPS):
    """Of two layers, with a learning rate at which rounding does not grow."""
    fields = dataclasses.asdict(SHAPE)
    counts = {"n_params": SHAPE.n_params(recipe), "n_params_total": SHAPE.n_params_total(recipe)}
    changes = {**fields, **counts, "recipe": recipe, "peak_learning_rate": 1e-3}
    if recipe == "prenorm":  # with muP, whose rates differ from parameter to parameter
        changes |= MUP
    return small_cell(root, objective, steps, evaluations=5, divergence_loss=9.0, **changes)


def losses(cell, layout, manifest):
    """Loss and gradient norm of each step, and the held-out losses; the second step is skipped
    when only the last replica has a non-finite loss."""
    with training_process(layout, 1, cell.seed) as process:
        corpus = TokenCorpus.open(manifest)
        order = corpus.train_rows(cell.mixture, cell.strata, None, cell.data_seed)
        feed = Feed(order, cell, layout, process.data_rank)
        engine = make_engine(cell, process)
        steps = []
        for number in range(cell.steps):
            batches = feed.at(number).batches
            if number == 1 and process.data_rank == layout.data - 1:
                mask = batches[-1].loss_mask
                batches[-1] = dataclasses.replace(batches[-1], loss_mask=mask * math.inf)
            steps.append(engine.train_step(batches, learning_rate(number + 1, cell)))
        return steps, engine.held_out_losses(held_out(corpus, cell))


def losses_in(cell, layout, manifest, folder):
    """`losses`, which are the same in every process of the layout."""

    def job():
        if layout.backend == "cpu":
            return losses(cell, layout, manifest)
        with cuda_on_cpu():
            return losses(cell, layout, manifest)

    found = run_job(layout.processes, job, folder)
    assert all(repr(other) == repr(found[0]) for other in found[1:])
    return found[0]


def assert_agree(found, expected, tolerance):
    (steps, held), (expected_steps, expected_held) = found, expected
    skipped = [n == 1 for n in range(len(expected_steps))]
    assert [s.skipped for s in steps] == [s.skipped for s in expected_steps] == skipped
    np.testing.assert_allclose(
        [s.loss for s in steps if not s.skipped],
        [s.loss for s in expected_steps if not s.skipped],
        rtol=tolerance,
    )
    assert steps[0].gradient_norm == pytest.approx(expected_steps[0].gradient_norm, rel=1e-5)
    assert held == pytest.approx(expected_held, rel=tolerance)


OTHERS = {
    "micro-batches": Layout("cpu", 1, 1, 1, 1, "none"),
    "DP 2": DATA,
    "TP 2": TENSOR,
    "cuda": Layout("cuda", 1, 1, 1, 2, "none"),
    "cuda DP 2": CUDA_DATA,
    "cuda PP 2": Layout("cuda", 1, 2, 1, 1, "none"),
    "cuda TP 2": CUDA_TENSOR,
}
DIVIDED = [name for name in OTHERS if name.endswith("P 2") and name != "cuda DP 2"]


@pytest.mark.parametrize(
    ("objective", "recipe", "steps", "names"),
    [
        ("clm", "study", STEPS, [*OTHERS]),
        # What the other recipe and muP change is divided in these.
        ("mlm", "prenorm", STEPS, DIVIDED),
        pytest.param("clm", "study", 50, [*OTHERS], marks=pytest.mark.long),
        pytest.param("mlm", "prenorm", 50, [*OTHERS], marks=pytest.mark.long),
    ],
)
def test_engines_and_layouts_give_the_same_losses(
    root, manifest, tmp_path, objective, recipe, steps, names
):
    cell = cell_for(root, objective, recipe, steps)
    one = losses_in(cell, ONE, manifest, tmp_path / "one")
    for name in names:
        layout = OTHERS[name]
        found = losses_in(cell, layout, manifest, tmp_path / name)
        assert_agree(found, one, 1e-5)


def runs_in(cell, layout, manifest, folder, stop=None):
    """Train the cell in `folder` in a layout, to its end or to step `stop`; on GPUs with a save
    after each step."""

    def job():
        with contextlib.ExitStack() as stack:
            if layout.backend == "cuda":
                stack.enter_context(cuda_on_cpu())
            if stop:
                stack.enter_context(asked_to_stop(stop))
                stack.enter_context(pytest.raises(SystemExit))
            seconds = 0.0 if layout.backend == "cuda" else UNBROKEN
            run_cell(cell, manifest, folder, checkpoint_seconds=seconds, layout=layout)

    run_job(layout.processes, job, folder / "job")


@pytest.mark.parametrize(
    ("objective", "first", "others"),
    [
        ("clm", ONE, [TENSOR]),
        ("mlm", TENSOR, [DATA]),
        ("clm", CUDA_DATA, [CUDA_TENSOR, ONE]),
        pytest.param("clm", ONE, [DATA], marks=pytest.mark.long),
        pytest.param("mlm", TENSOR, [ONE], marks=pytest.mark.long),
    ],
)
def test_a_run_resumes_in_another_layout(root, manifest, tmp_path, objective, first, others):
    cell = cell_for(root, objective, "study")
    runs_in(cell, ONE, manifest, tmp_path / "whole")
    unbroken = curve_of(cell, tmp_path / "whole")
    runs_in(cell, first, manifest, tmp_path / "half", stop=HALF)
    for number, layout in enumerate(others):
        folder = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "half", folder)
        runs_in(cell, layout, manifest, folder)
        record = read_json(result_of(cell, folder))
        assert [start["step"] for start in record["starts"]] == [0, HALF]
        assert record["layout"] == dataclasses.asdict(layout)
        curve = curve_of(cell, folder)
        assert (curve[["step", "split"]] == unbroken[["step", "split"]]).all(axis=None)
        np.testing.assert_allclose(curve.loss, unbroken.loss, rtol=1e-5)


def test_a_cpu_reads_the_weights_of_a_gpu_run(root, manifest, tmp_path):
    cell = cell_for(root, "clm", "study")
    runs_in(cell, CUDA_TENSOR, manifest, tmp_path)
    record = read_json(result_of(cell, tmp_path))
    with training_process(ONE, 1, cell.seed) as process:
        engine = make_engine(cell, process)
        load_weights(result_of(cell, tmp_path).parent, engine.model)
        held = engine.held_out_losses(held_out(TokenCorpus.open(manifest), cell))
    assert held == pytest.approx(record["held_out_losses"], rel=1e-5)


def test_a_save_that_fails_while_training_goes_on_ends_it_before_the_next(root, manifest, tmp_path):
    """Saves are half an hour apart, and soon after the start an hour has passed: once."""
    cell = cell_for(root, "clm", "study", steps=600)

    def job():
        looks = itertools.count()
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * (next(looks) > 20))
        later = mock.patch("plm_scaling.train.loop.time", clock)
        full = mock.patch.object(store, "write_state", side_effect=OSError(errno.ENOSPC, "full"))
        failure = pytest.raises(TrainError, match="cannot be written: full")
        with cuda_on_cpu(), later, full, failure:
            run_cell(cell, manifest, tmp_path, checkpoint_seconds=1800, layout=CUDA_DATA)

    run_job(2, job, tmp_path / "job")
    assert curve_of(cell, tmp_path).empty  # its first evaluation is after a fifth of the steps
