"""A GPU on which a start dies is set aside; one that trained, or has no fault, is not."""

import pytest
import torch
import torch.distributed as dist
from corpora import write_corpus
from training import run_cell, small_cell

from plm_scaling.common import devices, gpus
from plm_scaling.common.errors import ProcessError, TrainError
from plm_scaling.train.loop import Loop

ECC = "CUDA error: uncorrectable ECC error encountered\nCompile with TORCH_USE_CUDA_DSA"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The second of the GPUs that this process was given, of which it uses that one."""
    names = ["GPU-a", "GPU-b"]
    folder = tmp_path / "gpus"  # not the machine's
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    monkeypatch.setattr(gpus, "FOLDER", folder)
    monkeypatch.setattr(devices, "FOLDER", folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    for variable, value in {"RANK": "1", "WORLD_SIZE": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(variable, value)
    return names[1]


def notes_after(error, steps, root, manifest, folder, monkeypatch):
    """What is set aside after a cell that fails in step `steps` + 1."""
    real = Loop.step

    def failing(loop):
        if loop.position.step == steps:
            raise error
        real(loop)

    monkeypatch.setattr(Loop, "step", failing)
    with pytest.raises(type(error)):
        run_cell(small_cell(root), manifest, folder)
    return gpus.notes_of_set_aside()


@pytest.mark.parametrize(
    "error",
    [torch.AcceleratorError(ECC), RuntimeError("CUDA driver initialization failed")],
    ids=["kernel", "driver"],
)
def test_gpu_of_a_start_that_dies_is_set_aside(error, gpu, root, manifest, tmp_path, monkeypatch):
    (note,) = notes_after(error, 0, root, manifest, tmp_path, monkeypatch)
    assert note.startswith(f"{gpu} is set aside until ")
    assert f"{tmp_path}/runs/{small_cell(root).cell} died there" in note
    assert str(error).splitlines()[0] in note


def test_gpu_that_trained_is_not_set_aside(gpu, root, manifest, tmp_path, monkeypatch):
    error = torch.AcceleratorError(ECC)
    assert notes_after(error, 3, root, manifest, tmp_path, monkeypatch) == []


@pytest.mark.parametrize(
    "error",
    [
        dist.DistBackendError("NCCL error: CUDA driver of another process"),
        TrainError("CUDA error in a sentence of ours"),
        RuntimeError("shapes differ"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_gpu_sets_none_aside(
    error, gpu, root, manifest, tmp_path, monkeypatch
):
    assert notes_after(error, 0, root, manifest, tmp_path, monkeypatch) == []


@pytest.mark.parametrize(("found", "notes"), [(1, 1), (2, 0)])
def test_a_gpu_that_the_driver_lists_and_pytorch_does_not_find_is_set_aside(
    found, notes, gpu, root, manifest, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr("torch.cuda.device_count", lambda: found)
    error = ProcessError("the host has fewer GPUs that PyTorch can use")
    assert len(notes_after(error, 0, root, manifest, tmp_path, monkeypatch)) == notes


@pytest.mark.parametrize(("free", "notes"), [(1e9, 1), (49e9, 0)], ids=["shared", "alone"])
def test_too_little_memory_is_the_fault_of_a_gpu_that_others_use(
    free, notes, gpu, root, manifest, tmp_path, monkeypatch
):
    """Of 80 GB this process has 30."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (free, 80e9))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda: 30e9)
    error = torch.OutOfMemoryError("CUDA out of memory")
    assert len(notes_after(error, 0, root, manifest, tmp_path, monkeypatch)) == notes
