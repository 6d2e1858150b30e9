"""result.json: what ran, with what, and what came of it. Written last."""

import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from plm_scaling import __version__
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.record import RunRecord
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.output.throughput import Hardware, Throughput
from plm_scaling.train.position import Position


def _versions() -> dict[str, str]:
    """Versions that decide a result."""
    packages = ("torch", "megatron-core", "numpy", "pyarrow")
    return {
        "plm-scaling": __version__,
        "train stage": str(STAGE_VERSION),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


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
        config=vars(cell),
        versions=_versions(),
    )
