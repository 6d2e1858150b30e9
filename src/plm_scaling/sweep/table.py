"""Plan a sweep into its table."""

from pathlib import Path

from plm_scaling.common.progress import logger
from plm_scaling.config.schema import SweepInputs
from plm_scaling.study.sweep_table import write_sweep
from plm_scaling.sweep.cells import plan_cells, tuning_only
from plm_scaling.sweep.stages import read_stages


def plan_sweep(blocks: SweepInputs, out: Path) -> None:
    """Write sweep.tsv for these blocks of the config, and the stages recorded beside it.

    Args:
        blocks: of the config
        out: sweep.tsv, with stages/{number}.json beside it
    """
    stages = read_stages(out.parent / "stages", blocks.sweep)
    cells = plan_cells(blocks, stages)
    write_sweep(cells, out, tuning_only(blocks, stages))
    flops = f"{sum(cell.flops for cell in cells.values()):.3g}"
    logger.info(f"[sweep] {len(cells)} cells, {flops} FLOPs (`plan` shows them)")
