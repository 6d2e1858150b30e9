"""The cuda engine on real GPUs: the cpu engine's losses, exact resume, several GPUs."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from corpora import write_corpus
from training import asked_to_stop, curve_of, result_of, run_cell, small_cell, trained

from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
STEPS = 50
CPU = Layout("cpu", 1, 1, 1, 4, "none")
CUDA = Layout("cuda", 1, 1, 1, 2, "none")
SEVERAL = {
    "DP 2": Layout("cuda", 1, 1, 2, 2, "none"),
    "TP 2": Layout("cuda", 2, 1, 1, 4, "none"),
    "PP 2": Layout("cuda", 1, 2, 1, 1, "full"),
}
SHAPE = Shape(2, 128, 341, 2)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def cell_for(root, objective, recipe="study", **changes):
    """Of two layers, with a learning rate at which rounding does not grow."""
    counts = {"n_params": SHAPE.n_params(recipe), "n_params_total": SHAPE.n_params_total(recipe)}
    fields = dataclasses.asdict(SHAPE) | counts | {"recipe": recipe, "init_std": 0.05}
    fields |= {"peak_learning_rate": 1e-3, "divergence_loss": 9.0} | changes
    return small_cell(root, objective, STEPS, **fields)


@pytest.mark.parametrize("recipe", ["study", "prenorm"])
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_fifty_steps_have_the_losses_of_the_cpu_engine(root, manifest, tmp_path, objective, recipe):
    """In fp32, products included."""
    assert torch.get_float32_matmul_precision() == "highest"
    cell = cell_for(root, objective, recipe)
    _, expected = trained(cell, manifest, tmp_path / "cpu", layout=CPU)
    record, curve = trained(cell, manifest, tmp_path / "cuda", layout=CUDA)
    assert record["status"] == "finished"
    np.testing.assert_allclose(curve.loss, expected.loss, rtol=1e-4)


def test_bf16_learns_as_fp32_does(root, manifest, tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        cell = cell_for(root, "clm", precision=precision)
        _, curve = trained(cell, manifest, tmp_path / precision, layout=CUDA)
        losses[precision] = curve.loss.to_numpy()
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=1e-2)
    assert losses["bf16"][-1] < losses["bf16"][0] - 0.1


def test_the_record_has_the_gpu_and_its_memory(root, manifest, tmp_path):
    record, _ = trained(cell_for(root, "mlm", precision="bf16"), manifest, tmp_path, layout=CUDA)
    weights = 2 * SHAPE.n_params_total("study")
    assert record["peak_memory_bytes"]["largest process"] > weights
    assert record["device"] == torch.cuda.get_device_name()
    assert record["flops_per_second"] > 0


def test_a_stopped_run_resumes(root, manifest, tmp_path):
    cell = cell_for(root, "clm")
    _, unbroken = trained(cell, manifest, tmp_path / "whole", layout=CUDA)
    with asked_to_stop(25), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path / "half", layout=CUDA)
    record, curve = trained(cell, manifest, tmp_path / "half", layout=CUDA)
    assert [start["step"] for start in record["starts"]] == [0, 25]
    np.testing.assert_allclose(curve.loss, unbroken.loss, rtol=1e-4)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("name", SEVERAL)
def test_two_gpus_have_the_losses_of_one(root, manifest, tmp_path, name):
    cell, layout = cell_for(root, "mlm"), SEVERAL[name]
    _, expected = trained(cell, manifest, tmp_path / "one", layout=CUDA)
    out = result_of(cell, tmp_path / "two")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2),
        *(root / "scripts/train_cell.py", "--cell", cell.to_json(), "--layout", layout.to_json()),
        *("--manifest", manifest, "--threads", 1, "--checkpoint-seconds", 1e4, "--out", out),
    ]
    env = os.environ | {"PYTHONPATH": str(root / "src")}
    subprocess.run([*map(str, command)], check=True, env=env)
    assert json.loads(out.read_text())["status"] == "finished"
    np.testing.assert_allclose(curve_of(cell, tmp_path / "two").loss, expected.loss, rtol=1e-3)
