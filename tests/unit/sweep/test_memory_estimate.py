"""The memory estimate against what PyTorch saves, models hold, and jobs use."""

import ctypes
import gc
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cell_fixtures import cell_of
from corpora import write_corpus
from cuda_shim import cuda_on_cpu
from forks import run_job
from torch.nn.functional import scaled_dot_product_attention

from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import STUDY_GRID, Shape
from plm_scaling.sweep.memory import checkpoint_bytes, process_memory, saved_bytes_per_token
from plm_scaling.tokens.format.vocabulary import EOD
from plm_scaling.train.checkpoint.background import Saves
from plm_scaling.train.checkpoint.store import load_checkpoint
from plm_scaling.train.data.batches import batch_of
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.model import layers
from plm_scaling.train.model.attention import SegmentAttention
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.fused import apply_rotary
from plm_scaling.train.model.losses import model_losses

ONE = Layout("cpu", 1, 1, 1, 8, "none")


def packed_rows(rows, context):
    """Sequences of 10 to 60 residues, eod after each."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 21, rows * context).astype(np.uint8)
    tokens[np.cumsum(rng.integers(10, 60, rows * context // 60))] = EOD
    return tokens.reshape(rows, context)


class _GatedOnCuda(torch.autograd.Function):
    """What the compiled kernel keeps: only its input."""

    @staticmethod
    def forward(ctx, gate_up, activation):
        ctx.save_for_backward(gate_up)
        return gate_up.chunk(2, -1)[0].clone()


def attend_on_cuda(attention, qkv, segments):
    """As `SegmentAttention.forward` on CUDA, with one kernel for all rows, which are whole."""
    q, k, v = apply_rotary.plain(qkv, *segments.rotary(qkv.shape[-1], qkv.dtype))
    rows = [x.unflatten(0, segments.groups[0]).transpose(1, 2) for x in (q, k, v)]
    attended = scaled_dot_product_attention(*rows, is_causal=attention.causal)
    return attended.transpose(1, 2).flatten(0, 1)


def saved_bytes(cell):
    """Storage that autograd keeps after the forward pass, parameters and the batch left out."""
    model = build_model(cell, ONE)
    batch = batch_of(cell, packed_rows(cell.batch_rows, cell.context_length), 0)
    segments = batch.segments
    known = [*model.parameters(), batch.inputs, batch.labels, batch.loss_mask]
    known += [value for value in vars(segments).values() if isinstance(value, torch.Tensor)]
    pointers = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in pointers:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model_losses(model, batch)
    return sum(storage.nbytes() for storage in kept.values())


def test_estimated_activations_are_those_that_pytorch_saves():
    shapes = [Shape(1, 64, 170, 2), Shape(3, 64, 170, 2), Shape(2, 96, 400, 8)]
    with training_process(ONE, 1, 1):
        for recipe in ("study", "prenorm"):
            for objective in ("clm", "mlm"):
                for shape in shapes:
                    fields = {"batch_rows": 8, "context_length": 128}
                    cell = cell_of(objective, shape, recipe, **fields)
                    estimate = saved_bytes_per_token(cell, ONE) * 8 * 128
                    assert estimate == pytest.approx(saved_bytes(cell), rel=0.02)


def test_saved_activations_on_gpus_are_those_that_pytorch_keeps_of_the_same_operations(monkeypatch):
    """On the CPU, by what is computed on CUDA; on whole rows, of which attention copies nothing."""
    monkeypatch.setattr(SegmentAttention, "forward", attend_on_cuda)
    monkeypatch.setattr(layers, "gated", _GatedOnCuda.apply)
    monkeypatch.setitem(globals(), "packed_rows", lambda *shape: np.full(shape, 3, np.uint8))
    cuda, shape = Layout("cuda", 1, 1, 1, 8, "none"), Shape(3, 64, 192, 2)
    with training_process(ONE, 1, 1):
        for recipe in ("study", "prenorm"):
            for objective in ("clm", "mlm"):
                fields = {"batch_rows": 8, "context_length": 128}
                cell = cell_of(objective, shape, recipe, **fields)
                estimate = saved_bytes_per_token(cell, cuda) * 8 * 128
                assert estimate == pytest.approx(saved_bytes(cell), rel=0.02)


def test_weights_of_a_process_are_its_layers_and_its_share_of_sharded_tensors():
    with training_process(ONE, 1, 1):
        for recipe in ("study", "prenorm"):
            cell = cell_of("clm", STUDY_GRID["127M"], recipe, precision="bf16")
            model = build_model(cell, ONE, device="meta")
            for tensor, pipeline in ((1, 1), (2, 1), (2, 3), (1, 6)):
                layout = Layout("cuda", tensor, pipeline, 1, 1, "none")
                memory = process_memory(cell, layout)
                counts = [parameters_of(model, layout, first=first) for first in (True, False)]
                assert memory.weights / 2 in counts
                assert memory.gradients / 4 == memory.optimizer / 12 == memory.weights / 2


def parameters_of(model, layout, first):
    """Parameters of the first or last stage, by the marks of a model that is not divided."""
    count = 0.0
    per_stage = model.config.num_layers // layout.pipeline
    for name, parameter in model.named_parameters():
        if name.startswith("decoder.layers."):
            if int(name.split(".")[2]) >= per_stage:
                continue
        elif "final_layernorm" in name and first and layout.pipeline > 1:
            continue
        parts = layout.tensor if getattr(parameter, "tensor_model_parallel", False) else 1
        count += parameter.numel() / parts
    return count


def test_optimizer_state_is_divided_over_replicas_and_activations_are_not():
    cell = cell_of("clm", STUDY_GRID["2.8B"], precision="bf16", batch_rows=512, context_length=1024)
    one, eight = (process_memory(cell, Layout("cuda", 1, 1, data, 4, "none")) for data in (1, 8))
    assert eight.optimizer == one.optimizer / 8
    assert eight.weights == one.weights
    assert eight.activations == one.activations
    again = process_memory(cell, Layout("cuda", 1, 1, 8, 4, "full"))
    assert again.activations < 0.1 * eight.activations
    halved = process_memory(cell, Layout("cuda", 2, 1, 4, 4, "none"))
    assert halved.activations == pytest.approx(eight.activations / 2, rel=0.02)


def resident_bytes(which):
    """Of this process: VmRSS now, or VmHWM the most since that was forgotten."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if which in x)
    return 1024 * int(line.split()[1])


def checkpoint_peaks(cell, layout, folder):
    """Most memory of this process while it saves, and while it reads, above what it had before."""

    def peak(action):
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the heap keeps would be taken again
        Path("/proc/self/clear_refs").write_text("5")  # forgets VmHWM
        before = resident_bytes("VmRSS")
        action()
        return resident_bytes("VmHWM") - before

    with cuda_on_cpu(), training_process(layout, 1, 1) as process:
        engine = make_engine(cell, process)
        engine.sharded_state()  # makes the moments, which a GPU would have
        saves = Saves(folder, {}, process.device)

        def save():
            saves.save(1, {}, engine.sharded_state())
            saves.wait()

        return [
            peak(save),
            peak(lambda: engine.load_state(load_checkpoint(folder, {}, engine.sharded_state)[2])),
        ]


@pytest.mark.parametrize("data", [1, 2])
def test_a_checkpoint_takes_the_estimated_main_memory(tmp_path, data):
    """The copy of what a process owns; and of reading, little more than the largest tensor."""
    cell = cell_of("clm", Shape(5, 384, 1024, 6), batch_rows=2)
    layout = Layout("cuda", 1, 1, data, 1, "none")
    job = partial(checkpoint_peaks, cell, layout, tmp_path / "checkpoints")
    for saving, reading in run_job(data, job, tmp_path):
        assert saving == pytest.approx(checkpoint_bytes(cell, layout), abs=5e6)
        gathered = 4 * cell.n_params_total * (data > 1)  # by gloo; NCCL gathers on the GPUs
        assert reading < gathered + 20e6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "shape", "rows", "micro"),
    [
        ("study", Shape(6, 128, 341, 2), 32, 32),  # mostly activations
        pytest.param(  # mostly weights, gradients and AdamW
            *("prenorm", Shape(8, 512, 1365, 8), 4, 2), marks=pytest.mark.long
        ),
    ],
)
def test_estimate_is_within_15_percent_of_what_a_job_takes(
    root, tmp_path, recipe, shape, rows, micro
):
    manifest = write_corpus(tmp_path, context_length=256, n=2000)
    fields = {"steps": 2, "evaluations": 1, "warmup_steps": 1, "init_std": 0.02, "valid_rows": 32}
    fields |= {"batch_rows": rows, "context_length": 256, "tokens": 2 * rows * 256}
    cell = cell_of("mlm", shape, recipe, **fields)
    layout = Layout("cpu", 1, 1, 1, micro, "none")
    out = tmp_path / "run/result.json"
    command = [sys.executable, "-S", root / "benchmarks/measure.py", tmp_path / "m.json", tmp_path]
    command += [sys.executable, root / "scripts/train_cell.py", "--cell", cell.to_json()]
    command += ["--layout", layout.to_json(), "--manifest", manifest, "--threads", "1"]
    command += ["--checkpoint-seconds", "1e9", "--out", out]
    env = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([*map(str, command)], check=True, env=env)
    measured = json.loads((tmp_path / "m.json").read_text())["rss_mb"] * 1e6
    assert process_memory(cell, layout).total == pytest.approx(measured, rel=0.15)
