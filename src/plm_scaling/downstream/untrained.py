"""A cell before training, as a run folder: the floor of what its training brings."""

from dataclasses import asdict
from pathlib import Path

from plm_scaling.common.files import write_json
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.checkpoint.sharded import sharded_model
from plm_scaling.train.checkpoint.store import save_checkpoint
from plm_scaling.train.distributed.process import cpu_process
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.output.record import versions


def write_untrained(cell: str, threads: int, out: Path) -> None:
    """Make the folder of `out` a run with the weights with which the cell's training begins.

    Its record says that it has seen no token and has no loss.

    Args:
        cell: the cell, in JSON
        threads: CPU threads
        out: its record, result.json
    """
    own = Cell.from_json(cell)
    with cpu_process(threads, own.seed):
        state = {"model": sharded_model(build_model(own))}
        identity = {"cell": own.cell, "data_sha256": "", "stage_version": str(STAGE_VERSION)}
        save_checkpoint(out.parent / "checkpoints", 0, identity, {}, state)
    record = RunRecord(
        cell=own.cell,
        status="finished",
        reason="",
        loss=None,
        loss_last=None,
        n_evals=0,
        steps=0,
        tokens=0,
        unique_tokens=0,
        flops=0.0,
        wall_seconds=0.0,
        tokens_per_second=0.0,
        config=asdict(own),
        versions=versions("cpu"),
    )
    write_json(out, record.to_json())
