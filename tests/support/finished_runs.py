"""Folders of finished runs, as training leaves them, with weights that were never trained."""

import dataclasses
import json
from pathlib import Path

import torch
from cell_fixtures import cell_of

from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import Shape
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.checkpoint.sharded import sharded_model
from plm_scaling.train.checkpoint.store import save_checkpoint
from plm_scaling.train.distributed.process import cpu_process
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.output.record import versions

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
    cell = cell_of(objective, SHAPE, recipe, context_length=CONTEXT, **changes)
    with cpu_process(threads=1, seed=3):
        model = build_model(cell)
        torch.manual_seed(weights_seed)
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn_like(value) * 0.2)
        identity = {"cell": cell.cell, "data_sha256": "0", "stage_version": str(STAGE_VERSION)}
        state = {"model": sharded_model(model)}
        save_checkpoint(folder / "checkpoints", cell.steps, identity, {}, state)
    record = {
        "cell": cell.cell,
        "status": status,
        "reason": "" if status == "finished" else "loss 9 at step 7",
        "steps": cell.steps,
        "held_out_losses": {"valid": 2.5, "valid/a": 2.4, "ood": 2.9},
        "tokens": cell.tokens,
        "unique_tokens": 1000,
        "flops": cell.flops,
        "flops_exact": cell.flops_exact,
        "data_sha256": "0",
        "config": dataclasses.asdict(cell),
        "versions": versions(),
    }
    (folder / "result.json").write_text(json.dumps(record))
    return cell
