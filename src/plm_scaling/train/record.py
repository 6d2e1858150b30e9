"""result.json: what ran, with what, and what came of it. Written last."""

import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plm_scaling import __version__
from plm_scaling.files import sha256_of
from plm_scaling.sweep.cells import Cell
from plm_scaling.train import STAGE_VERSION


def versions() -> dict[str, str]:
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
    *,
    status: str,
    reason: str,
    step: int,
    losses: list[float],
    unique_tokens: int,
    curve: Path,
    wall_seconds: float,
    data_sha256: str,
    held_out_tokens: dict[str, int],
) -> dict[str, Any]:
    """The record of a cell that ended; `losses` are its finite evaluations (nats/token).

    `held_out_tokens` are the predicted tokens of each held-out set.
    """
    tokens = step * cell.batch_rows * cell.context_length
    return {
        "cell": cell.cell,
        "status": status,
        "reason": reason,
        "loss": losses[-1] if losses and status == "finished" else None,
        "loss_last": losses[-1] if losses else None,
        "n_evals": len(losses),
        "held_out_tokens": held_out_tokens,
        "steps": step,
        "tokens": tokens,
        "unique_tokens": min(tokens, unique_tokens),
        "flops": 6.0 * cell.n_params * tokens,
        "wall_seconds": round(wall_seconds, 3),
        "tokens_per_second": round(tokens / wall_seconds, 1),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "curve_sha256": sha256_of(curve),
        "data_sha256": data_sha256,
        "config": {name: getattr(cell, name) for name in cell.__dataclass_fields__},
        "versions": versions(),
    }
