"""Several processes: what one layout saved another reads to the last bit, and all fail together."""

import resource

import pytest
import torch
import torch.distributed as dist
from cell_fixtures import cell_of
from checkpointing import IDENTITY, SHAPE, Training, assert_same, filled
from clean import main, report, run_checks
from forks import run_job

from plm_scaling.common.errors import TrainError
from plm_scaling.study.layout import Layout
from plm_scaling.train.checkpoint.store import load_checkpoint, save_checkpoint
from plm_scaling.train.distributed.process import training_process

RECIPES = ("study", "prenorm")


def layout(tensor=1, data=1):
    return Layout("cpu", tensor, 1, data, 4, "none")


def part(name, whole, rank, ranks):
    """What `rank` of `ranks` processes that share a tensor holds of it."""

    def cut(tensor, axis):
        return tensor.chunk(ranks, axis)[rank]

    if name.startswith("step "):  # of AdamW
        return whole
    if name.endswith(("linear_fc1.weight", "linear_fc1.bias")):  # gate and up, each divided
        gate, up = whole.chunk(2)
        return torch.cat([cut(gate, 0), cut(up, 0)])
    if name.endswith(("word_embeddings.weight", "linear_qkv.weight", "linear_qkv.bias")):
        return cut(whole, 0)
    if name.endswith(("linear_proj.weight", "linear_fc2.weight")):
        return cut(whole, 1)
    return whole


def save(folder, recipe, training):
    save_checkpoint(folder / recipe, 10, IDENTITY, {"recipe": recipe}, training.state())


def load(folder, recipe):
    """A model that is as it was in `folder`, in the layout of this process."""
    training = Training(cell_of("clm", SHAPE, recipe), seed=2, stepped=False)
    step, position, state = load_checkpoint(folder / recipe, IDENTITY, training.state)
    assert (step, position) == (10, {"recipe": recipe})
    training.load(state)
    return training


def whole_in(folder):
    """Checkpoints of one process in `folder`, and what they hold."""

    def job():
        tensors = {}
        with training_process(layout(), 1, 1):
            for recipe in RECIPES:
                training = Training(cell_of("clm", SHAPE, recipe))
                tensors[recipe] = training.tensors()
                save(folder, recipe, training)
        torch.save(tensors, folder / "whole.pt")

    run_job(1, job, folder / "job")
    return torch.load(folder / "whole.pt")


def moves_between_layouts(tmp_path):
    whole = tmp_path / "whole"
    expected = whole_in(whole)

    def in_two(division, source, to):
        with training_process(division, 1, 1) as process:
            ranks = division.tensor
            for recipe in RECIPES:
                training = load(source, recipe)
                found = training.tensors()
                own = process.rendezvous.rank if ranks > 1 else 0
                parts = {n: part(n, t, own, ranks) for n, t in expected[recipe].items()}
                assert_same(found, parts)
                save(to, recipe, training)

    run_job(2, lambda: in_two(layout(tensor=2), whole, tmp_path / "tp2"), tmp_path / "job 1")
    run_job(2, lambda: in_two(layout(data=2), tmp_path / "tp2", tmp_path / "dp2"), tmp_path / "2")

    def in_one():
        with training_process(layout(), 1, 1):
            for recipe in RECIPES:
                assert_same(load(tmp_path / "tp2", recipe).tensors(), expected[recipe])
                assert_same(load(tmp_path / "dp2", recipe).tensors(), expected[recipe])

    run_job(1, in_one, tmp_path / "3")
    # Both processes of TP=2 wrote; of two replicas, one did.
    for name, second_writes in (("tp2", True), ("dp2", False)):
        second = tmp_path / name / "study/step-000000010/__1_0.distcp"
        assert (second.stat().st_size > 0) == second_writes


def two_processes_fail_together(tmp_path):
    whole = tmp_path / "whole"
    folder = tmp_path / "study"
    cell = cell_of("clm", SHAPE, "study")
    expected = whole_in(whole)["study"]

    def job():
        with training_process(layout(tensor=2), 1, 1) as process:
            rank = process.rendezvous.rank
            training = load(whole, "study")
            for step in (1, 2):
                save_checkpoint(folder, step, IDENTITY, {}, training.state())
            for failing in (0, 1):  # one of them can write no more than a little
                limits = resource.getrlimit(resource.RLIMIT_FSIZE)
                if rank == failing:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
                with pytest.raises(TrainError, match="step 3 cannot be written: File too large"):
                    save_checkpoint(folder, 3, IDENTITY, {}, training.state())
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                dist.barrier()
                assert sorted(p.name for p in folder.iterdir()) == [
                    "step-000000001",
                    "step-000000002",
                ]
            save_checkpoint(tmp_path / "filled", 1, IDENTITY, {}, filled(1, replica=rank))
            lacking = filled(0, replica=rank, names="abcx" if rank else "abcd")
            with pytest.raises(TrainError, match="has no tensor x, which this model has"):
                load_checkpoint(tmp_path / "filled", IDENTITY, lambda: lacking)
            # The newest is damaged in a file of the second process.
            if rank == 0:
                path = folder / "step-000000002/__1_0.distcp"
                path.write_bytes(path.read_bytes()[::-1])
            dist.barrier()
            other = Training(cell, seed=2, stepped=False)
            step, _, state = load_checkpoint(folder, IDENTITY, other.state)
            other.load(state)
            own = {name: part(name, t, rank, 2) for name, t in expected.items()}
            assert_same(other.tensors(), own)
            return step

    assert run_job(2, job, tmp_path / "job") == [1, 1]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    checks = (moves_between_layouts, two_processes_fail_together)
    return run_checks(__file__, tmp_path_factory.mktemp("layouts"), *checks)


def test_checkpoints_convert_between_layouts_and_back_bit_for_bit(checked):
    report(checked, moves_between_layouts)


def test_two_processes_fail_together_and_load_the_same_checkpoint(checked):
    report(checked, two_processes_fail_together)


if __name__ == "__main__":
    main(globals())
