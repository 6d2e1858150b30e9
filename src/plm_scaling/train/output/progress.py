"""What a reader of the terminal and `plm-scaling status` see of a cell while it trains."""

import logging
import math
import time
from pathlib import Path

from plm_scaling.common.files import write_json
from plm_scaling.common.progress import short_number, short_time
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord
from plm_scaling.study.sweep_table import read_sweep

logger = logging.getLogger("plm_scaling")


class CellReporter:
    """Reports one cell: a terminal line every 10 s, progress.json after the first step and then
    every 2 s.

    Cell k of n and the time left for the whole sweep come from sweep.tsv and the records beside
    this cell, when they are there; they decide nothing.
    """

    LINE_SECONDS = 10.0
    FILE_SECONDS = 2.0

    def __init__(self, cell: Cell, out: Path) -> None:
        self.cell = cell
        self.progress_file = out.with_name("progress.json")
        sweep = out.parent.parent.with_name("sweep.tsv")
        cells = read_sweep(sweep) if sweep.exists() else {}
        self._sweep = {name: planned.flops for name, planned in cells.items()}
        self._runs = out.parent.parent
        number = list(self._sweep).index(cell.cell) + 1 if cell.cell in self._sweep else "?"
        self.label = (
            f"[train] cell {number} of {len(self._sweep) or '?'}: {cell.objective} {cell.size} "
            f"at {cell.flops_budget:.2g} FLOPs"
        )
        self._last_line = time.monotonic()
        self._last_file = -math.inf  # the first step shows at once that this start makes steps

    def report(self, step: int, losses: list[float], seconds: float) -> None:
        """Called after every step; prints and writes when it is time."""
        now = time.monotonic()
        if now - self._last_file < self.FILE_SECONDS:
            return
        self._last_file = now
        tokens = step * self.cell.batch_rows * self.cell.context_length
        rate = tokens / seconds
        loss = losses[-1] if losses else None
        write_json(
            self.progress_file,
            {"tokens": tokens, "loss": loss, "tokens_per_second": rate, "updated": time.time()},
        )
        if now - self._last_line >= self.LINE_SECONDS:
            self._last_line = now
            logger.info(
                "%s, %.0f %%, loss %s, %s tokens/s, %s left",
                self.label,
                100 * step / self.cell.steps,
                "-" if loss is None else f"{loss:.4f}",
                short_number(rate),
                short_time((self.cell.tokens - tokens) / rate),
            )

    def finish(self, record: RunRecord) -> None:
        """The cell's last line, with how far the sweep is."""
        done = [c for c in self._sweep if (self._runs / c / "result.json").exists()]
        done_flops = sum(self._sweep[c] for c in [*done, self.cell.cell] if c in self._sweep)
        total_flops = sum(self._sweep.values())
        loss = record.loss_last
        logger.info(
            "%s %s: loss %s after %s tokens in %s, %s tokens/s%s",
            self.label,
            record.status,
            "-" if loss is None else f"{loss:.4f}",
            short_number(record.tokens),
            short_time(record.wall_seconds),
            short_number(record.tokens_per_second),
            f"; sweep {100 * done_flops / total_flops:.0f} % done by FLOPs" if total_flops else "",
        )
        self.progress_file.unlink(missing_ok=True)
