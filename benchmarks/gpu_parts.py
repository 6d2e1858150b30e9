"""The parts of gpu_check.py: python benchmarks/gpu_parts.py PART FOLDER [--dry]."""

import argparse
import contextlib
import dataclasses
import importlib
import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from plm_scaling.common.files import write_json

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))
NEEDED = (
    "megatron.core",
    "pydantic",
    "yaml",
    "pyarrow",
    "pandas",
    "pytest",
    "hypothesis",
    "triton",
)


class Found(dict[str, Any]):
    """What a part measured; written whenever there is something new."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        write_json(self.path, self)  # whole or not at all: it is read at any moment


@contextmanager
def gpu(dry: bool) -> Iterator[None]:
    """Within the block there is a GPU; `dry`: the tests' pretended one."""
    with ExitStack() as stack:
        if dry:
            from cuda_shim import cuda_on_cpu

            stack.enter_context(cuda_on_cpu())
            given = {"get_device_name": "NVIDIA H200", "max_memory_allocated": 10**9}
            given |= {"reset_peak_memory_stats": None, "set_sync_debug_mode": None}
            for name, value in given.items():
                stack.enter_context(mock.patch(f"torch.cuda.{name}", return_value=value))
        yield


def versions(found: Found, folder: Path, dry: bool) -> None:
    """What is installed; whether the allocator's segments grow as the engine asks."""
    found["torch"] = f"{torch.__version__}, Python {sys.version.split()[0]}"
    absent = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            absent.append(f"{name} ({error})")
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        absent.append("a C compiler, without which nothing is compiled")
    found["absent"] = absent
    from plm_scaling.train.distributed import process
    from plm_scaling.train.output.record import versions

    found["versions"] = versions("cuda")
    if dry:
        return
    process._prepare_cuda(process.Layout("cuda", 1, 1, 1, 1, "none"))
    kept = torch.zeros(1 << 20, device="cuda")
    found["gpu"] = torch.cuda.get_device_name()
    found["memory"] = f"{torch.cuda.mem_get_info()[1] / 1e9:.1f} GB"
    found["expandable"] = [s.get("is_expandable") for s in torch.cuda.memory_snapshot()]
    del kept


def products(found: Found, folder: Path, dry: bool) -> None:
    """Bandwidth, and matrix products in bf16: large, and of an MLP at its width and padded."""
    device, repeats, tokens = ("cpu", 1, 64) if dry else ("cuda", 10, 32_768)
    scale = 64 if dry else 1
    tensor = torch.ones((1 << 30) // 2 // scale, dtype=torch.bfloat16, device=device)
    other = torch.empty_like(tensor)
    moved = 2 * tensor.nbytes / seconds_of(lambda: other.copy_(tensor), repeats, dry)
    found["copy"] = f"{moved / 1e12:.2f} TB/s"

    def rate(m: int, n: int, k: int, a_turned: bool = False, b_turned: bool = True) -> float:
        """TFLOP/s of (m × k)·(k × n), each in memory as it is or turned."""
        a = torch.randn((k, m) if a_turned else (m, k), dtype=torch.bfloat16, device=device)
        b = torch.randn((n, k) if b_turned else (k, n), dtype=torch.bfloat16, device=device)
        one, two = (a.T if a_turned else a), (b.T if b_turned else b)
        return 2 * m * n * k / seconds_of(lambda: one @ two, repeats, dry) / 1e12

    size = 8192 // scale
    found["8192³"] = f"{rate(size, size, size):.0f} TFLOP/s"
    for hidden, ffn, padded in (
        (896, 2389, 2432),
        (2048, 5461, 5504),
        (4096, 10922, 10944),
        (4352, 11606, 11648),
    ):
        for width in (ffn // scale, padded // scale):
            rates = []
            for outputs, inputs in ((2 * width, hidden // scale), (hidden // scale, width)):
                rates += [
                    rate(tokens, outputs, inputs),  # forward, then gradients of inputs and weights
                    rate(tokens, inputs, outputs, b_turned=False),
                    rate(outputs, inputs, tokens, a_turned=True, b_turned=False),
                ]
            said = " ".join(f"{value:.0f}" for value in rates)
            found[f"{hidden}/{width}"] = f"{said} TFLOP/s (fc1, fc2: forward dgrad wgrad)"


def throughput(found: Found, folder: Path, dry: bool) -> None:
    """The benchmark's table of two sizes."""
    import gpu_training

    out, rows = folder / "throughput.md", 4 if dry else 128
    with tiny(gpu_training, dry):
        gpu_training.main(["85M", "680M"], ["study"], ["mlm"], rows, 1 if dry else 3, out)
    for line in out.read_text().splitlines()[2:]:
        size, _, _, _, layout, hold, *numbers = (cell.strip() for cell in line.split("|")[1:-1])
        found[f"{size}, {hold}, {layout}"] = "; ".join(numbers)


@contextmanager
def tiny(gpu_training: Any, dry: bool) -> Iterator[None]:
    """Within the block the benchmark measures tiny models, if `dry`."""
    from plm_scaling.study.shapes import Shape

    real = gpu_training.read_config

    def config_of(path: Path) -> Any:
        config = real(path)
        training = config.training.model_copy(update={"precision": "fp32"})
        tokens = config.tokens.model_copy(update={"context_length": 64})
        return config.model_copy(update={"training": training, "tokens": tokens})

    with ExitStack() as stack:
        if dry:
            shape = Shape(1, 64, 170, 1)
            changes: dict[str, Any] = {"SEQUENCES": 300, "read_config": config_of}
            changes |= {"STUDY_GRID": {"85M": shape, "680M": shape, "34M": shape}}
            stack.enter_context(mock.patch.multiple(gpu_training, **changes))
        yield


def profile(found: Found, folder: Path, dry: bool) -> None:
    """Steps of 85M: how often the CPU waits for the GPU, where, and what the GPU does."""
    import gpu_training

    from plm_scaling.study.layout import Layout
    from plm_scaling.train.distributed.process import training_process
    from plm_scaling.train.engine.base import make_engine

    layout = Layout("cuda", 1, 1, 1, 1 if dry else 32, "none")
    with tiny(gpu_training, dry), training_process(layout, 4, 1) as process:
        cell = gpu_training.cell_of("85M", "study", "mlm", 4 if dry else 128)
        engine, batches = make_engine(cell, process), gpu_training.whole_rows(cell, layout)
        steps = [lambda: batches] * (1 if dry else 5)
        gpu_training.seconds_of(engine, steps)
        found["step"] = f"{1e3 * gpu_training.seconds_of(engine, steps) / len(steps):.1f} ms"
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            engine.train_step(batches.batches, gpu_training.RATE)
            torch.cuda.set_sync_debug_mode("default")
        where = [
            f"{Path(w.filename).name}:{w.lineno}"
            for w in waits
            if "synchronizing CUDA" in str(w.message)
        ]
        found["synchronisations"] = f"{len(where)}: {', '.join(where[:20])}"
        with torch.profiler.profile() as profiler:
            engine.train_step(batches.batches, gpu_training.RATE)
            torch.cuda.synchronize()
        events = profiler.key_averages()
        by = "self_cpu_time_total" if dry else "self_cuda_time_total"
        (folder / "profile.txt").write_text(events.table(sort_by=by, row_limit=60))
        on_gpu = [e for e in events if e.device_type.name == "CUDA" and not e.is_user_annotation]
        found["GPU busy"] = f"{sum(e.self_device_time_total for e in on_gpu) / 1e3:.1f} ms"
        found["kernels"] = sum(e.count for e in events if "LaunchKernel" in e.key)


def resume(found: Found, folder: Path, dry: bool) -> None:
    """A 34M cell that gets SIGTERM and is started again has the losses of an unbroken one."""
    from corpora import write_corpus
    from training import curve_of, result_of

    cell, _ = resumed_cell(dry)
    write_corpus(folder, cell.context_length, n=300 if dry else 5000)
    command = [sys.executable, __file__, "train", *(["--dry"] if dry else [])]

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command[:3], str(folder / name), *command[3:]])

    found["unbroken, exit code"] = start("whole").wait()
    half, curve = start("half"), result_of(cell, folder / "half").with_name("curve.csv")
    while half.poll() is None and not (curve.exists() and ",valid," in curve.read_text()):
        time.sleep(0.05)
    half.send_signal(signal.SIGTERM)
    found["stopped, exit code"] = half.wait()
    found["resumed, exit code"] = start("half").wait()
    record = json.loads(result_of(cell, folder / "half").read_text())
    found["starts at steps"] = [start["step"] for start in record["starts"]]
    losses, expected = (curve_of(cell, folder / name).loss for name in ("half", "whole"))
    found["largest difference of a loss"] = f"{(losses / expected - 1).abs().max():.1e}"
    found["record"] = {key: record[key] for key in ("utilisation", "peak_memory_bytes", "versions")}
    assert found["stopped, exit code"] == 75, "the cell had ended, or did not stop as it should"


def resumed_cell(dry: bool) -> tuple[Any, Any]:
    """The cell, and its layout."""
    import gpu_training

    from plm_scaling.study.layout import Layout

    with tiny(gpu_training, dry):
        cell = gpu_training.cell_of("34M", "study", "mlm", 4 if dry else 64)
    steps = 40 if dry else 120
    changes: dict[str, Any] = {
        "steps": steps,
        "tokens": steps * cell.batch_rows * cell.context_length,
    }
    changes |= {"warmup_steps": 20, "evaluations": 10, "valid_rows": 16 if dry else 64}
    cell = dataclasses.replace(cell, divergence_loss=9.0, **changes)
    return cell, Layout("cuda", 1, 1, 1, cell.batch_rows // 2, "none")


def train(found: Found, folder: Path, dry: bool) -> None:
    """A start of that cell in `folder`, beside its tokens."""
    from training import run_cell

    cell, layout = resumed_cell(dry)
    run_cell(cell, folder.parent / "tokens/manifest.json", folder, layout=layout)


def parity(found: Found, folder: Path, dry: bool) -> None:
    """Fifty steps in fp32 on the CPU and on the GPU."""
    from corpora import write_corpus
    from training import small_cell

    from plm_scaling.study.layout import Layout
    from plm_scaling.study.shapes import Shape
    from plm_scaling.tokens.read.dataset import TokenCorpus
    from plm_scaling.train.data.feed import Feed
    from plm_scaling.train.distributed.process import training_process
    from plm_scaling.train.engine.base import make_engine
    from plm_scaling.train.engine.optimizer import learning_rate

    shape = Shape(2, 16, 42, 2) if dry else Shape(4, 256, 682, 4)
    corpus = TokenCorpus.open(write_corpus(folder / "parity"))
    for recipe, objective in (("study", "mlm"), ("prenorm", "clm")):
        counts = {"n_params": shape.n_params(recipe), "recipe": recipe}
        changes = dataclasses.asdict(shape) | counts | {"peak_learning_rate": 1e-3}
        cell = small_cell(ROOT, objective, 50, **changes)
        order = corpus.train_rows(cell.mixture, cell.strata, None, cell.data_seed)
        steps = []
        for backend in ("cpu", "cuda"):
            layout = Layout(backend, 1, 1, 1, 2, "none")
            with training_process(layout, 4, 1) as process:
                engine, feed = make_engine(cell, process), Feed(order, cell, layout, 0)
                steps.append(
                    [
                        engine.train_step(feed.at(n).batches, learning_rate(n + 1, cell))
                        for n in range(cell.steps)
                    ]
                )
        for name in ("loss", "gradient_norm"):
            pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(*steps, strict=True)]
            difference = max(abs(b / a - 1) for a, b in pairs)
            found[f"{recipe} {objective}, {name}"] = f"{difference:.1e}"


def seconds_of(function: Callable[[], Any], repeats: int, dry: bool) -> float:
    """Seconds of a call, when the GPU does nothing else."""
    wait = (lambda: None) if dry else torch.cuda.synchronize
    for _ in range(3):
        function()
    wait()
    begin = time.perf_counter()
    for _ in range(repeats):
        function()
    wait()
    return (time.perf_counter() - begin) / repeats


PARTS = (versions, products, throughput, profile, resume, train, parity)


def main(part: str, folder: Path, dry: bool) -> None:
    """Run a part; numbers into `folder`/PART.json."""
    folder.mkdir(parents=True, exist_ok=True)
    function = {function.__name__: function for function in PARTS}[part]
    with contextlib.nullcontext() if part in ("versions", "products") else gpu(dry):
        function(Found(folder / f"{part}.json"), folder, dry)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[function.__name__ for function in PARTS])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry", action="store_true")
    main(**vars(parser.parse_args()))
