"""Stopped at half in one layout, resumed in another: the tensors and losses of an unbroken run.

The optimizer's buffers are cut into several padded buckets, as those of large models are; once they
were written with others' values.
"""

import contextlib
import dataclasses
from functools import cache, partial
from unittest import mock

import numpy as np
import pytest
import torch
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from forks import run_job
from megatron.core.distributed import DistributedDataParallelConfig
from padding import without_padding
from training import small_cell

from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.checkpoint.sharded import MOMENTS
from plm_scaling.train.checkpoint.store import load_checkpoint, save_checkpoint
from plm_scaling.train.data.feed import Feed
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine import cuda as engine_cuda
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.engine.optimizer import learning_rate
from plm_scaling.train.evaluate import held_out

STEPS, HALF = 20, 10
SHAPE = Shape(2, 24, 61, 2)
IDENTITY = {"cell": "0123456789"}
LAYOUTS = {
    "one": Layout("cpu", 1, 1, 1, 4, "none"),
    "TP": Layout("cpu", 2, 1, 1, 4, "none"),
    "DP": Layout("cpu", 1, 1, 2, 2, "none"),
    "cuda": Layout("cuda", 1, 1, 1, 4, "none"),
    "cuda TP": Layout("cuda", 2, 1, 1, 4, "none"),
    "cuda PP": Layout("cuda", 1, 2, 1, 2, "none"),
    "cuda DP": Layout("cuda", 1, 1, 2, 2, "none"),
    "cuda TP PP": Layout("cuda", 2, 2, 1, 2, "none"),
    "cuda DP TP": Layout("cuda", 2, 1, 2, 2, "none"),
    "cuda DP PP": Layout("cuda", 1, 2, 2, 1, "none"),
}
QUICK = [
    ("study", "cuda DP TP", ["cuda DP TP", "cuda PP"]),
    ("prenorm", "cuda DP PP", ["cuda", "TP"]),
]
RECIPES = {"study": "clm", "prenorm": "mlm"}


@pytest.fixture(scope="module")
def trainer(root, tmp_path_factory):
    return Trainer(root, tmp_path_factory.mktemp("trained"))


@contextlib.contextmanager
def small_buckets():
    """Within the block, a bucket is full with 2,000 values: small models have several."""
    config = partial(DistributedDataParallelConfig, bucket_size=2000)
    with cuda_on_cpu(), mock.patch.object(engine_cuda, "DistributedDataParallelConfig", config):
        yield


def padding_of(engine):
    """Values of padding in front of the last bucket of each buffer."""
    return sum(
        bucket.grad_data.numel() - bucket.numel_unpadded
        for buffer in engine.ddp.buffers
        for bucket in buffer.buckets[:-1]
    )


def check_zeros(engine):
    """Fail unless what pads MLPs is 0 in weights, gradients and moments."""
    (distributed,) = engine.optimizer.chained_optimizers
    for name, parameter in engine.model.named_parameters():
        state = distributed._get_main_param_and_optimizer_states(parameter)
        tensors = [parameter, parameter.main_grad, *(state[key] for key in ("param", *MOMENTS))]
        for tensor in tensors:
            kept = without_padding(name, tensor.view_as(parameter), SHAPE.ffn)
            assert ("mlp.linear" in name and "fc2.bias" not in name) == (
                kept.numel() < tensor.numel()
            )


class Trainer:
    """Halves of runs, each in a job of its own."""

    def __init__(self, root, folder):
        self.root, self.folder = root, folder
        self.manifest = write_corpus(folder / "corpus")
        self.begun = cache(self.begun)

    def cell(self, recipe):
        """With a learning rate at which rounding does not grow; `study bf16` is in bf16."""
        recipe, _, precision = recipe.partition(" ")
        counts = {
            "n_params": SHAPE.n_params(recipe),
            "n_params_total": SHAPE.n_params_total(recipe),
        }
        changes = {**dataclasses.asdict(SHAPE), **counts, "recipe": recipe}
        changes["precision"] = precision or "fp32"
        return small_cell(
            self.root, RECIPES[recipe], STEPS, peak_learning_rate=1e-3, warmup_steps=2, **changes
        )

    def begun(self, recipe, name):
        """Train to the end, with a checkpoint at half. Its folder, the losses after it."""
        return self._trained(recipe, name, f"{recipe} {name}", None)

    def resumed(self, recipe, name, source):
        """Train from the checkpoint in `source`, which is saved again, to the end."""
        return self._trained(recipe, name, f"{source.name} to {name}", source)

    def tensors(self, recipe, folder):
        """Weights and moments in a checkpoint, as one process on the CPU reads them."""

        def job():
            with training_process(LAYOUTS["one"], 1, 1) as process:
                engine = make_engine(self.cell(recipe), process)
                engine.load_state(load_checkpoint(folder, IDENTITY, engine.sharded_state)[2])
                found = {name: p.detach() for name, p in engine.model.named_parameters()}
                for name, parameter in engine.model.named_parameters():
                    for key, value in engine.optimizer.state[parameter].items():
                        found[f"{key} {name}"] = value
                return found

        return run_job(1, job, folder / "job")[0]

    def _trained(self, recipe, name, to, source):
        layout, folder = LAYOUTS[name], self.folder / to
        cell = self.cell(recipe)

        def train():
            with training_process(layout, 1, 1) as process:
                corpus = TokenCorpus.open(self.manifest)
                order = corpus.train_rows(cell.mixture, cell.strata, None, cell.data_seed)
                feed = Feed(order, cell, layout, process.data_rank)
                begins_with = 2 if source else 1  # other weights, to be replaced
                engine = make_engine(dataclasses.replace(cell, seed=begins_with), process)

                def steps(numbers):
                    for number in numbers:
                        rate = learning_rate(number + 1, cell)
                        step = engine.train_step(feed.at(number).batches, rate)
                        assert not step.skipped
                        yield step.loss

                if source:
                    engine.load_state(load_checkpoint(source, IDENTITY, engine.sharded_state)[2])
                else:
                    [*steps(range(HALF))]
                save_checkpoint(folder, HALF, IDENTITY, {}, engine.sharded_state())
                losses = [*steps(range(HALF, STEPS))]
                if name == "cuda":
                    check_zeros(engine)
                held = engine.held_out_losses(held_out(corpus, cell))["valid"]
                padded = layout.backend == "cpu" or padding_of(engine) > 0
                return [*losses, held], padded

        def job():
            with small_buckets() if layout.backend == "cuda" else contextlib.nullcontext():
                return train()

        found = run_job(layout.processes, job, self.folder / f"job {to}")
        if layout.data > 1:
            assert any(padded for _, padded in found)
        return folder, found[0][0]


@pytest.mark.parametrize(
    ("recipe", "source", "others"),
    [pytest.param(*case, id=f"{case[0]}, {case[1]}") for case in QUICK]
    + [
        pytest.param(recipe, name, [*LAYOUTS], marks=pytest.mark.long, id=f"{recipe}, {name}, all")
        for recipe in RECIPES
        for name in LAYOUTS
    ],
)
def test_a_resume_is_the_unbroken_run_in_every_layout(trainer, recipe, source, others):
    one, unbroken = trainer.begun(recipe, "one")
    folder, losses = trainer.begun(recipe, source)
    np.testing.assert_allclose(losses, unbroken, rtol=1e-5)
    expected, saved = trainer.tensors(recipe, one), trainer.tensors(recipe, folder)
    assert saved.keys() == expected.keys()
    for name, tensor in expected.items():  # to rounding, of the largest value
        difference = (saved[name] - tensor).abs().max()
        assert difference <= 1e-4 * tensor.abs().max(), name
    for other in others:
        again, losses = trainer.resumed(recipe, other, folder)
        np.testing.assert_allclose(losses, unbroken, rtol=1e-5)
        for name, tensor in trainer.tensors(recipe, again).items():
            assert torch.equal(tensor, saved[name]), f"{other}: {name}"


def test_a_resume_in_bf16_has_the_weights_in_fp32(trainer):
    folder, unbroken = trainer.begun("study bf16", "cuda DP")
    saved = trainer.tensors("study bf16", folder)
    again, losses = trainer.resumed("study bf16", "cuda DP", folder)
    np.testing.assert_allclose(losses, unbroken, rtol=1e-6)
    for name, tensor in trainer.tensors("study bf16", again).items():
        assert torch.equal(tensor, saved[name]), name
    weights = saved["decoder.layers.0.mlp.linear_fc1.weight"]
    assert not torch.equal(weights, weights.bfloat16().float())
