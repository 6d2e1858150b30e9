"""A resume where the optimizer's buffers are cut into padded buckets: nothing is mixed up."""

import contextlib
import dataclasses
from functools import partial
from unittest import mock

import pytest
import torch
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from forks import run_job
from megatron.core.distributed import DistributedDataParallelConfig
from training import asked_to_stop, run_cell, small_cell

from plm_scaling.common.errors import TrainError
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.checkpoint import sharded_cuda
from plm_scaling.train.checkpoint.store import load_checkpoint, save_checkpoint
from plm_scaling.train.data.feed import Feed
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine import cuda as engine_cuda
from plm_scaling.train.engine.adamw_cuda import TENSORS
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.engine.optimizer import learning_rate
from plm_scaling.train.evaluate import held_out

STEPS, HALF = 8, 4
SHAPE = Shape(2, 24, 62, 2)
IDENTITY = {"cell": "0123456789"}
ONE = Layout("cuda", 1, 1, 1, 4, "none")
DATA = Layout("cuda", 1, 1, 2, 2, "none")
STAGES = Layout("cuda", 1, 2, 1, 2, "none")
BOTH = Layout("cuda", 1, 2, 2, 1, "none")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def cell_for(root, objective, recipe):
    counts = {"n_params": SHAPE.n_params(recipe), "n_params_total": SHAPE.n_params_total(recipe)}
    changes = {**dataclasses.asdict(SHAPE), **counts, "recipe": recipe}
    return small_cell(root, objective, STEPS, evaluations=2, warmup_steps=2, **changes)


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


def parts_of(engine):
    """This process's part of each tensor of the optimizer, with the place where it begins."""
    first_layer = engine.model.decoder.layers[0].layer_number - 1
    (distributed,) = engine.optimizer.chained_optimizers
    parts = []
    for name, parameter in engine.model.named_parameters():
        if parameter not in distributed.model_param_gbuf_map:
            continue  # another replica has it
        words = name.replace("output_layer", "embedding.word_embeddings").split(".")
        if words[1] == "layers":
            words[2] = str(int(words[2]) + first_layer)
        start = distributed._get_model_param_range_map(parameter)["param"].start
        tensors = distributed._get_main_param_and_optimizer_states(parameter)
        for key in TENSORS:
            parts.append((f"{key} {'.'.join(words)}", start, tensors[key].detach().clone()))
    return parts


def whole(parts_by_rank):
    """The optimizer's tensors, flat, by name."""
    found = {}
    for name, start, values in (part for parts in parts_by_rank for part in parts):
        found.setdefault(name, {})[start] = values
    return {
        name: torch.cat([pieces[start] for start in sorted(pieces)])
        for name, pieces in found.items()
    }


def run(cell, layout, manifest, folder, resumes):
    """Train to the end: from the first step, with a checkpoint at half of it, or from there.

    Returns of each process its part of the optimizer at half, the final loss, and its padding.
    """

    def job():
        with small_buckets(), training_process(layout, 1, cell.seed) as process:
            corpus = TokenCorpus.open(manifest)
            order = corpus.train_rows(cell.mixture, cell.strata, None, cell.data_seed)
            feed = Feed(order, cell, layout, process.data_rank)
            engine = make_engine(dataclasses.replace(cell, seed=1 + resumes), process)

            def train(steps):
                for number in steps:
                    rate = learning_rate(number + 1, cell)
                    assert not engine.train_step(feed.at(number).batches, rate).skipped

            if resumes:
                template = partial(engine.sharded_state, loading=True)
                engine.load_state(load_checkpoint(folder, IDENTITY, template)[2])
            else:
                train(range(HALF))
                save_checkpoint(folder, HALF, IDENTITY, {}, engine.sharded_state(loading=False))
            parts = parts_of(engine)
            train(range(HALF, STEPS))
            loss = engine.held_out_losses(held_out(corpus, cell))["valid"]
            return parts, loss, padding_of(engine)

    found = run_job(layout.processes, job, folder / f"job-{layout}-{resumes}")
    parts, losses, padding = zip(*found, strict=True)
    return whole(parts), losses[0], padding


@pytest.mark.parametrize(
    ("layout", "objective", "recipe"),
    [
        (DATA, "clm", "study"),
        (DATA, "mlm", "prenorm"),
        (STAGES, "clm", "prenorm"),
        (BOTH, "clm", "study"),
    ],
    ids=lambda value: (
        f"PP {value.pipeline} DP {value.data}" if isinstance(value, Layout) else value
    ),
)
def test_a_resumed_run_has_the_saved_optimizer_state(
    root, manifest, tmp_path, layout, objective, recipe
):
    cell = cell_for(root, objective, recipe)
    saved, unbroken, padding = run(cell, layout, manifest, tmp_path, resumes=False)
    assert any(padding)
    for other in (layout, ONE):
        loaded, loss, _ = run(cell, other, manifest, tmp_path, resumes=True)
        assert loaded.keys() == saved.keys()
        for name, tensor in saved.items():
            assert torch.equal(loaded[name], tensor), name
        assert loss == pytest.approx(unbroken, rel=1e-5)


def test_optimizer_state_scrambled_by_an_earlier_version_is_refused(root, manifest, tmp_path):
    cell = cell_for(root, "clm", "study")

    def stopped():
        as_it_was = mock.patch.object(
            sharded_cuda, "_offsets_without_padding", return_value=contextlib.nullcontext()
        )
        with small_buckets(), as_it_was, asked_to_stop(HALF), pytest.raises(SystemExit):
            run_cell(cell, manifest, tmp_path, layout=DATA)

    def resumed():
        refused = pytest.raises(TrainError, match=r"checkpoints, step 4: .* delete the folder")
        with small_buckets(), refused:
            run_cell(cell, manifest, tmp_path, layout=DATA)

    run_job(2, stopped, tmp_path / "stopped")
    run_job(2, resumed, tmp_path / "resumed")
