"""steps.csv: how the steps of a cell go, seen while it trains. It decides nothing."""

import logging
from pathlib import Path

from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.engine.base import Step
from plm_scaling.train.engine.optimizer import learning_rate
from plm_scaling.train.output.rows import RowFile
from plm_scaling.train.output.tensorboard import Events
from plm_scaling.train.output.throughput import Hardware
from plm_scaling.train.position import Position

STRAGGLER = 1.2  # times as long as the fastest process
STRAGGLER_ROWS = 10  # in a row before the log says so

logger = logging.getLogger("plm_scaling")


class StepFile(RowFile):
    """Loss and gradient norm of the row's step; means over the steps since the row before."""

    columns = (
        "step",
        "tokens",
        "loss",
        "gradient_norm",
        "learning_rate",
        "skipped_steps",
        "tokens_per_second",
        "utilisation",
        "slowest_seconds",
        "fastest_seconds",
        "slowest_rank",
    )


MEASURED = StepFile.columns[-5:]  # differ from run to run; all else is the same bit by bit


class StepLog:
    """Writes a row every `every` steps, and one of the last.

    Every process calls `add` after each step. They exchange their times only where a row is due.
    """

    def __init__(self, cell: Cell, process: Process, hardware: Hardware, path: Path) -> None:
        self.cell = cell
        self.process = process
        self.hardware = hardware
        self.file = StepFile(path)
        self.stragglers = Stragglers(process.layout)
        self.events: Events | None = None
        self.every = -(-cell.steps // process.layout.step_log_rows)
        self._steps, self._seconds, self._working = 0, 0.0, 0.0

    def begin(self, step: int, curve: Path) -> None:
        """Keep the rows up to `step`. Event files, if asked for, are made from them and `curve`."""
        self.file.begin(step)
        if self.process.layout.tensorboard:
            self.events = Events(self.file.path.with_name("tensorboard"))
            self.events.copy(self.file.path, curve)

    def add(self, position: Position, step: Step, seconds: float, working: float) -> None:
        """Take account of the step that led to `position`; `working` are the seconds for
        which it waited for no other process, as far as they are known."""
        self._steps, self._seconds = self._steps + 1, self._seconds + seconds
        self._working += working
        cell = self.cell
        if position.step % self.every and position.step != cell.steps:
            return
        of_ranks = self.process.of_ranks(self._working / self._steps)
        rate = self._steps / self._seconds
        self._steps, self._seconds, self._working = 0, 0.0, 0.0
        if not self.process.is_first:
            return
        peak = self.hardware.peak_flops_per_second
        tokens = cell.batch_rows * cell.context_length
        rank, slowest, fastest = self.stragglers.watch(of_ranks)
        row = (
            position.step,
            position.step * tokens,
            step.loss,
            None if step.loss is None else step.gradient_norm,
            learning_rate(position.step, cell),
            len(position.skipped),
            round(rate * tokens, 1),
            round(rate * cell.flops_exact / cell.steps / peak, 4) if peak else None,
            round(slowest, 6),
            round(fastest, 6),
            rank,
        )
        self.file.append([row])
        if self.events:
            self.events.write(position.step, dict(zip(StepFile.columns[1:], row[1:], strict=True)))

    def close(self) -> None:
        """Write what TensorBoard's writer still holds."""
        if self.events:
            self.events.close()


class Stragglers:
    """Finds a process that is slower than the others of its pipeline stage, row after row.

    Stages are not compared: the first has passes to make when the last has made all of its own.
    """

    def __init__(self, layout: Layout) -> None:
        self.of_stage = layout.tensor * layout.data  # stages are the outermost of the ranks
        self.rank, self.rows = 0, 0

    def watch(self, seconds: list[float]) -> tuple[int, float, float]:
        """Rank and seconds of the slowest, and seconds of the fastest, by rank, in the stage in
        which they differ most. Warns when the same rank has been slow for `STRAGGLER_ROWS`."""
        begins = range(0, len(seconds), self.of_stage)
        stages = [seconds[begin : begin + self.of_stage] for begin in begins]
        stage = max(stages, key=lambda of: max(of) / min(of))
        slowest, fastest = max(stage), min(stage)
        rank = stages.index(stage) * self.of_stage + stage.index(slowest)
        slow = slowest > STRAGGLER * fastest
        self.rows = self.rows + 1 if slow and rank == self.rank else int(slow)
        self.rank = rank
        if self.rows == STRAGGLER_ROWS:
            logger.warning(
                "process %d is slow: %.3g s a step where the fastest takes %.3g, for %d rows of "
                "steps.csv; look at its GPU's clock, or what else its host does",
                *(rank, slowest, fastest, self.rows),
            )
        return rank, slowest, fastest
