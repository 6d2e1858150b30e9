"""The loop: steps, evaluations and checkpoints, from a position to the end of the run."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from plm_scaling.study.cell import Cell
from plm_scaling.train.data.feed import Batches
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.engine.base import Engine
from plm_scaling.train.engine.optimizer import learning_rate
from plm_scaling.train.evaluate import HeldOut
from plm_scaling.train.output.curve import CurveFile
from plm_scaling.train.output.profiling import StepProfile
from plm_scaling.train.output.progress import CellReporter
from plm_scaling.train.output.steps import StepLog
from plm_scaling.train.output.throughput import Hardware, Throughput
from plm_scaling.train.position import (
    Position,
    evaluation_step,
    held_out_divergence,
    too_many_skipped,
)
from plm_scaling.train.start import Start
from plm_scaling.train.stop import JOB_ENDS, StopRequest

logger = logging.getLogger("plm_scaling")


@dataclass(frozen=True)
class Outcome:
    """How the loop ended, and why if not at the last step."""

    status: Literal["finished", "diverged", "stopped"]
    reason: str = ""


@dataclass
class Loop:
    """Takes a run from `position` to its end; `save` writes a checkpoint there.

    On GPUs it is written while training goes on. `save_failed` says at once that it was not, and
    the next `save` raises why.

    Every process of the layout runs it and comes to the same decisions, from losses and flags that
    all of them share. `reporter`, curve and steps are those of the first process.
    """

    cell: Cell
    process: Process
    hardware: Hardware
    engine: Engine
    feed: Batches
    held_out: HeldOut
    position: Position
    curve: CurveFile
    steps: StepLog
    reporter: CellReporter | None
    save: Callable[[], None]
    save_failed: Callable[[], bool]
    longest_step: float = 0.0
    """Seconds of the longest step so far."""
    longest_pause: float = 0.0
    """Seconds of the longest evaluation or checkpoint so far."""

    def train(
        self,
        request: StopRequest,
        checkpoint_seconds: float,
        profile: StepProfile,
        start: Start,
    ) -> Outcome:
        """Train to the last step, or until the run has diverged or is asked to stop.

        A request is heeded after the running step, before an evaluation that may be due: that is
        made up for when the run resumes. After a signal that came before the first step there is
        none, and nothing to save.
        """
        position, steps = self.position, self.cell.steps
        (signal,) = self.process.maximum(request.signal or 0)
        if signal:
            return Outcome("stopped", f"signal {signal:.0f}")
        saved = time.monotonic()
        while True:
            if self._evaluation_is_due():
                with self._pause():
                    self.evaluate()
                if reason := held_out_divergence(position, self.cell):
                    return Outcome("diverged", reason)
            if position.step == steps:
                return Outcome("finished")
            self.step()
            start.over()
            profile.step()
            if reason := too_many_skipped(position, self.cell):
                return Outcome("diverged", reason)
            waited = time.monotonic() - saved
            signal, ends, due = self.process.maximum(
                request.signal or 0,
                request.job_ends(self.longest_step, self.longest_pause),
                waited >= checkpoint_seconds or self.save_failed(),
            )
            if signal or ends:
                self.save()
                return Outcome("stopped", f"signal {signal:.0f}" if signal else JOB_ENDS)
            if due:
                with self._pause():
                    self.save()
                saved = time.monotonic()

    def step(self) -> None:
        """One step, made or skipped."""
        cell, position = self.cell, self.position
        begin = time.monotonic()
        own = self.feed.at(position.step)
        fed = time.monotonic() - begin
        step = self.engine.train_step(
            own.batches, learning_rate(position.step + 1, cell), position.loss_limit(cell)
        )
        seconds = time.monotonic() - begin
        position.count(step, own.unpadded_tokens, own.attended, seconds)
        self.steps.add(position, step, seconds, fed + self.engine.working_seconds())
        if step.skipped and self.process.is_first:
            logger.warning(
                "step %d is skipped: loss %.4g, gradient norm %.4g; %s",
                *(position.step, step.loss, step.gradient_norm, step.cause),
            )
        self.longest_step = max(self.longest_step, seconds)
        if self.reporter:
            self.reporter.report(position.step, position.losses, position.seconds)

    def evaluate(self) -> None:
        """Evaluate on the held-out sets and append the losses to the curve."""
        cell, position = self.cell, self.position
        losses = self.engine.held_out_losses(self.held_out)
        mean_loss, mean_norm = position.evaluated(losses)
        if self.reporter is None:
            return
        tokens = position.step * cell.batch_rows * cell.context_length
        speed = Throughput.of(cell, position, self.hardware)
        self.curve.append(
            [
                (
                    position.step,
                    tokens,
                    6.0 * cell.n_params * tokens,
                    split,
                    loss,
                    learning_rate(position.step, cell),
                    mean_norm if split == "train" else None,
                    speed.tokens_per_second,
                    speed.unpadded_tokens_per_second,
                    speed.flops_per_second,
                    speed.utilisation,
                )
                for split, loss in {"train": mean_loss, **losses}.items()
                if loss is not None
            ],
        )
        if self.steps.events:
            self.steps.events.write_losses(position.step, {"train": mean_loss, **losses})

    @contextmanager
    def _pause(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.longest_pause = max(self.longest_pause, time.monotonic() - begin)

    def _evaluation_is_due(self) -> bool:
        next_one = self.position.evaluations + 1
        if next_one > self.cell.evaluations:
            return False
        return self.position.step >= evaluation_step(next_one, self.cell)
