"""result.json: what ran, with what, and what came of it. Written last."""

import platform
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from plm_scaling import __version__
from plm_scaling.common.gpus import query
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.record import RunRecord
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.output.throughput import Hardware, Throughput
from plm_scaling.train.position import Position


def versions(backend: str) -> dict[str, str]:
    """Versions that decide a result, or how fast it comes."""
    packages = ("torch", "megatron-core", "numpy", "pyarrow")
    found = {
        "plm-scaling": __version__,
        "train stage": str(STAGE_VERSION),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
    return found | (_cuda_versions() if backend == "cuda" else {})


def _cuda_versions() -> dict[str, str]:
    """Of all that lies between PyTorch and the GPU; Transformer Engine only where there is one."""
    found = {"cuda": torch.version.cuda or "none"}
    if torch.cuda.is_available():
        found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
    for name in ("triton", "transformer-engine"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    if drivers := query("driver_version"):
        found["driver"] = drivers[0]
    return found


def result_record(
    cell: Cell,
    position: Position,
    *,
    status: str,
    reason: str,
    unique_tokens: int,
    curve_sha256: str,
    data_sha256: str,
    held_out_tokens: dict[str, int],
    layout: Layout,
    hardware: Hardware,
    peak_memory: dict[str, int],
    starts: list[dict[str, Any]],
) -> RunRecord:
    """The record of a cell that ended, `status` finished or diverged.

    `held_out_tokens` are the predicted tokens of each held-out set, `peak_memory` in bytes,
    `starts` where this run was started from: one entry, and one for each time it was resumed.
    """
    tokens = position.step * cell.batch_rows * cell.context_length
    losses = position.losses
    return RunRecord(
        cell=cell.cell,
        status=status,
        reason=reason,
        loss=losses[-1] if losses and status == "finished" else None,
        loss_last=losses[-1] if losses else None,
        held_out_losses=position.held_out,
        held_out_tokens=held_out_tokens,
        n_evals=len(losses),
        steps=position.step,
        skipped_steps=position.skipped,
        tokens=tokens,
        unpadded_tokens=position.unpadded_tokens,
        unique_tokens=min(tokens, unique_tokens),
        flops=6.0 * cell.n_params * tokens,
        flops_exact=cell.flops_exact / cell.tokens * tokens,
        wall_seconds=round(position.seconds, 3),
        **asdict(Throughput.of(cell, position, hardware)),
        utilisation_of=hardware.peak,
        layout=asdict(layout),
        device=hardware.device,
        hosts=hardware.hosts,
        peak_memory_bytes=peak_memory,
        restarts=len(starts) - 1,
        starts=starts,
        curve_sha256=curve_sha256,
        data_sha256=data_sha256,
        config=asdict(cell),
        versions=versions(layout.backend),
    )
