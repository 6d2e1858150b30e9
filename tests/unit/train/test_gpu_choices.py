"""What is chosen for a GPU by facts that need none."""

import importlib.util
import os
from contextlib import closing
from unittest import mock

import pytest
import torch
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from torch.utils._python_dispatch import TorchDispatchMode
from training import small_cell

from plm_scaling.study.layout import Layout
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.data.feed import Feed, Prefetched
from plm_scaling.train.distributed import process
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.model import modules
from plm_scaling.train.model.attention import flash_takes
from plm_scaling.train.output import record


def test_flash_kernels_take_multiples_of_8_up_to_256_and_it_is_said_once(caplog):
    flash_takes.cache_clear()
    assert [n for n in (6, 8, 64, 66, 136, 256, 264) if flash_takes(n)] == [8, 64, 136, 256]
    assert not flash_takes(66)
    assert caplog.text.count("heads of 66 channels") == 1


@pytest.mark.parametrize(
    ("backend", "precision", "channels", "expected"),
    [
        ("cuda", "bf16", 64, "transformer_engine"),
        ("cuda", "fp32", 64, "local"),
        ("cuda", "bf16", 66, "local"),
        ("cpu", "bf16", 64, "local"),
    ],
)
def test_transformer_engine_is_taken_where_its_packed_attention_works(
    monkeypatch, backend, precision, channels, expected
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert modules.implementation(backend, precision, channels) == expected


def test_the_record_of_a_gpu_cell_names_the_driver(monkeypatch):
    monkeypatch.setattr(record, "query", lambda name: ["580.65.06"] * 8)
    assert record.versions("cuda")["driver"] == "580.65.06"
    assert "driver" not in record.versions("cpu")


@pytest.mark.parametrize("own", [False, True])
def test_gpu_is_prepared_as_the_layout_wants_unless_the_user_has(monkeypatch, own):
    for name in ("CUDA_DEVICE_MAX_CONNECTIONS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "8")  # so that it is as before afterwards
        if not own:
            monkeypatch.delenv(name)
    allocator, matmul = mock.Mock(), mock.Mock()
    monkeypatch.setattr(torch.backends.cuda, "matmul", matmul)
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", allocator)
    process._prepare_cuda(Layout("cuda", 1, 1, 2, 1, "none"))
    assert ("CUDA_DEVICE_MAX_CONNECTIONS" in os.environ) == own
    process._prepare_cuda(Layout("cuda", 2, 1, 1, 1, "none"))
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == ("8" if own else "1")
    asked = [] if own else [mock.call("expandable_segments:True")] * 2
    assert allocator.call_args_list == asked
    assert matmul.allow_bf16_reduced_precision_reduction is False


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return TokenCorpus.open(write_corpus(tmp_path_factory.mktemp("corpus")))


def feed_of(cell, corpus, layout):
    order = corpus.train_rows(cell.mixture, cell.strata, None, cell.data_seed)
    return Feed(order, cell, layout, replica=0)


def test_all_that_a_batch_moves_to_a_gpu_is_pinned(root, corpus, monkeypatch):
    pinned = []

    def pin(tensor):
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    layout = Layout("cuda", 1, 1, 1, 2, "none")
    feed = feed_of(small_cell(root, "mlm"), corpus, layout)
    # Closed before the method is as it was: Python 3.11 fails where a thread calls it meanwhile.
    with closing(Prefetched(feed, torch.device("cuda"))) as ahead:
        batches = ahead.at(0).batches
    for batch in batches:
        own = [x for part in (batch, batch.segments) for x in vars(part).values()]
        tensors = [x for x in own if isinstance(x, torch.Tensor)]
        assert len(tensors) == 7
        assert all(any(x is y for y in pinned) for x in tensors)


class Reads(TorchDispatchMode):
    """Counts numbers that are read from tensors one by one, and tensors that are read as a whole:
    for either the CPU waits."""

    def __init__(self):
        super().__init__()
        self.numbers, self.tensors, self.tolist = 0, {}, torch.Tensor.tolist

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.numbers += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))

    def read(self, tensor):
        self.tensors[id(tensor)] = tensor
        return self.tolist(tensor)


def test_a_step_waits_for_the_gpu_twice_however_many_passes_and_parameters(root, corpus):
    cell, layout = small_cell(root, "mlm", gradient_clip=1e-3), Layout("cuda", 1, 1, 1, 1, "none")
    feed = feed_of(cell, corpus, layout)
    with cuda_on_cpu(), training_process(layout, 1, cell.seed) as own:
        engine = make_engine(cell, own)
        engine.train_step(feed.at(0).batches, 1e-2)
        batches = feed.at(1).batches
        assert len(batches) > 1
        with Reads() as reads, mock.patch.object(torch.Tensor, "tolist", lambda x: reads.read(x)):
            assert engine.train_step(batches, 1e-2).gradient_norm > cell.gradient_clip
    # megatron-core reads the number of tokens; we loss, tokens and norm.
    assert (reads.numbers, len(reads.tensors)) == (1, 1)
