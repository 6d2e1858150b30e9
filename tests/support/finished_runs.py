"""Folders of finished runs, as training leaves them, with weights that were never trained."""

from pathlib import Path

import torch
from cell_fixtures import cell_of, record_of

from plm_scaling.common.files import write_json
from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import Shape
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.checkpoint.sharded import sharded_model
from plm_scaling.train.checkpoint.store import save_checkpoint
from plm_scaling.train.distributed.process import cpu_process
from plm_scaling.train.model.builder import build_model

CONTEXT = 64
SHAPE = Shape(layers=2, hidden=24, ffn=40, heads=3)


def finished_run(
    folder: Path,
    objective: str = "clm",
    recipe: str = "study",
    status: str = "finished",
    weights_seed: int = 3,
    **changes: object,
) -> Cell:
    """Make the folder; norms and biases have random values too, so that none is like another."""
    cell = cell_of(objective, SHAPE, recipe, **{"context_length": CONTEXT} | changes)
    with cpu_process(threads=1, seed=3):
        model = build_model(cell)
        torch.manual_seed(weights_seed)
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn_like(value) * 0.2)
        identity = {"cell": cell.cell, "data_sha256": "0", "stage_version": str(STAGE_VERSION)}
        state = {"model": sharded_model(model)}
        save_checkpoint(folder / "checkpoints", cell.steps, identity, {}, state)
    reason = "" if status == "finished" else "loss 9 at step 7"
    write_json(folder / "result.json", record_of(cell, status=status, reason=reason).to_json())
    return cell
