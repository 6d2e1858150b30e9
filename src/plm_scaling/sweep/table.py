"""Plan a sweep into its table."""

import json
from pathlib import Path

from plm_scaling.common.progress import logger, short_number
from plm_scaling.config.load import validate_blocks
from plm_scaling.config.schema import SweepInputs
from plm_scaling.study.sweep_table import write_sweep
from plm_scaling.sweep.cells import plan_cells


def plan_sweep(blocks: str, out: Path) -> None:
    """Write sweep.tsv for the config blocks given as JSON (those of `SweepInputs`)."""
    config = validate_blocks(SweepInputs, json.loads(blocks), "--blocks")
    cells = plan_cells(config)
    write_sweep(cells, out)
    flops = short_number(sum(cell.flops for cell in cells.values()))
    logger.info(f"[sweep] {len(cells)} cells, {flops} FLOPs (`plan` shows them)")
