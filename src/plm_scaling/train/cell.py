"""Train one cell, from its first step or from its last checkpoint, to its record."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from plm_scaling.common import slurm_job
from plm_scaling.common.errors import TrainError
from plm_scaling.common.files import refuse_folder, write_json
from plm_scaling.common.lock import NAME as LOCK
from plm_scaling.common.lock import held
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout, check_layout
from plm_scaling.tokens.format.manifest import data_sha256
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.checkpoint.background import Saves
from plm_scaling.train.checkpoint.store import (
    NO_ROOM,
    keep_newest,
    load_checkpoint,
    load_weights,
)
from plm_scaling.train.data.feed import Feed, Prefetched
from plm_scaling.train.distributed.collective import on_first
from plm_scaling.train.distributed.process import Process, training_process
from plm_scaling.train.engine.base import make_engine
from plm_scaling.train.evaluate import held_out
from plm_scaling.train.gpu_faults import gpu_faults
from plm_scaling.train.init_from import check_source
from plm_scaling.train.loop import Loop, Outcome
from plm_scaling.train.output.curve import CurveFile
from plm_scaling.train.output.profiling import StepProfile
from plm_scaling.train.output.progress import CellReporter
from plm_scaling.train.output.record import result_record
from plm_scaling.train.output.starts import note_start, read_starts
from plm_scaling.train.output.steps import StepLog
from plm_scaling.train.output.tensorboard import check_tensorboard
from plm_scaling.train.output.throughput import Hardware, peak_memory_bytes
from plm_scaling.train.position import Position, evaluation_step
from plm_scaling.train.start import watched_start
from plm_scaling.train.stop import (
    EXIT_STOPPED,
    JOB_ENDS,
    STOPS_AT_START,
    follow_launcher,
    stop_request,
)

logger = logging.getLogger("plm_scaling")


def train_cell(
    cell: str,
    layout: str,
    manifest: Path,
    out: Path,
    threads: int,
    checkpoint_seconds: float,
    init_from: Path | None = None,
    profile_steps: int = 0,
) -> None:
    """Train the cell given as JSON on the corpus of `manifest`; write `out` (result.json) last.

    Every process of `layout` (JSON) calls this. curve.csv, steps.csv and checkpoints/ grow beside
    `out`. Killed at any moment and started again, in this layout or another, the cell resumes from
    its last checkpoint; in the same layout (on CPUs) it ends with the same losses, bit by bit.
    Asked to stop by a signal (see `plm_scaling.train.stop`), it saves a checkpoint after the
    running step, if it has made one, and exits with 75; before the end of its job too, which Slurm
    then queues again. A cell that diverges is a result too.

    Raises `TrainError` when the cell does not fit the corpus or the processes, or checkpoints are
    another cell's, `SweepError` when it does not fit the layout, `TokenError` when a shard is
    damaged, `LockError` when another job trains it, `ProcessError` when the processes do not meet.
    A run without a step within the layout's `start_minutes` ends with what it waited for.

    Args:
        cell: the cell's fields as JSON (see sweep.tsv)
        layout: processes and micro-batches as JSON
        manifest: manifest.json of the tokens
        out: result.json, written last
        threads: CPU threads of a process
        checkpoint_seconds: how often it is saved
        init_from: result.json of a finished run: begin with its weights; nothing: from scratch
        profile_steps: steps to profile into profile/ beside `out`
    """
    follow_launcher()
    refuse_folder(out)
    spec, division = Cell.from_json(cell), Layout.from_json(layout)
    check_layout(spec, division)
    check_source(spec, init_from)
    check_tensorboard(division)
    run: _Training | None = None
    with (
        _room_needed(out.parent),
        gpu_faults(out.parent, lambda: run is not None and run.loop.longest_step > 0),
        watched_start(division.start_minutes) as start,
        training_process(division, threads, spec.seed, out.parent) as process,
        stop_request() as request,
        ExitStack() as stack,
    ):
        with request.at_once(f"cell {spec.cell}", alone=division.processes == 1):
            start.waits_for(f"the lock of {out.parent}")
            on_first(lambda: stack.enter_context(held(out.with_name(LOCK))))
            start.waits_for(f"the shards of {manifest} to be read")
            run = _Training(spec, _corpus_for(spec, manifest, process.is_first), out, process)
            for opened in (run.saves, run.loop.steps, run.loop.feed):
                stack.callback(opened.close)
            start.waits_for(f"the checkpoint in {init_from or out.parent} to be loaded")
            run.begin(init_from)
        start.waits_for("the first step")
        profiled = profile_steps if process.is_first else 0
        with StepProfile(profiled, out.with_name("profile")) as profile:
            outcome = run.loop.train(request, checkpoint_seconds, profile, start)
        run.saves.wait()
        if outcome.status == "stopped":
            how = "is saved and stops" if run.loop.longest_step else STOPS_AT_START
            logger.info("cell %s %s (%s)", spec.cell, how, outcome.reason)
            if outcome.reason == JOB_ENDS and on_first(slurm_job.queue_again):
                logger.info("Slurm queues its job again: %s", run.what_was_made())
            sys.exit(EXIT_STOPPED)
        run.finish(outcome)


def _corpus_for(cell: Cell, manifest: Path, verify: bool) -> TokenCorpus:
    """The corpus, with rows as the cell takes them.

    One process reads the shards through; if one is damaged, the others end with it.
    """
    corpus = TokenCorpus.open(manifest, verify=verify)
    if corpus.context_length != cell.context_length:
        raise TrainError(
            f"{manifest}: rows of {corpus.context_length} tokens, but cell {cell.cell} has "
            f"context length {cell.context_length}; make the tokens again"
        )
    if corpus.start_token != cell.start_token:
        raise TrainError(
            f"{manifest}: tokens.start_token is {corpus.start_token}, in cell {cell.cell} it "
            f"is {cell.start_token}; make the tokens again"
        )
    return corpus


@contextmanager
def _room_needed(folder: Path) -> Iterator[None]:
    """Say in a `TrainError` that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise TrainError(
            f"{folder}: {error.strerror}; make room there and run again, to resume from the last "
            "checkpoint"
        ) from error


class _Training:
    """A cell in training, and its files."""

    def __init__(self, cell: Cell, corpus: TokenCorpus, out: Path, process: Process) -> None:
        self.cell = cell
        self.process = process
        self.out = out
        self.checkpoints = out.with_name("checkpoints")
        self.starts = out.with_name("starts.json")
        self.data_sha256 = data_sha256(corpus.manifest, cell.mixture, cell.strata)
        self.identity = {
            "cell": cell.cell,
            "data_sha256": self.data_sha256,
            "stage_version": str(STAGE_VERSION),
        }
        background = process.device if process.layout.backend == "cuda" else None
        self.saves = Saves(self.checkpoints, self.identity, background)
        self.order = corpus.train_rows(
            cell.mixture, cell.strata, cell.unique_tokens_limit, cell.data_seed
        )
        feed = Feed(self.order, cell, process.layout, process.data_rank)
        hardware = Hardware.of(process)
        self.loop = Loop(
            cell=cell,
            process=process,
            hardware=hardware,
            engine=make_engine(cell, process),
            feed=Prefetched(feed, process.device) if process.device.type == "cuda" else feed,
            held_out=held_out(corpus, cell),
            position=Position(),
            curve=CurveFile(out.with_name("curve.csv")),
            steps=StepLog(cell, process, hardware, out.with_name("steps.csv")),
            reporter=CellReporter(cell, out) if process.is_first else None,
            save=self.save,
            save_failed=self.saves.failed,
        )

    def begin(self, init_from: Path | None) -> None:
        """Go to the last checkpoint, if there is one, and cut curve and steps there."""
        loop, engine = self.loop, self.loop.engine
        curve_sha256 = None
        self.out.parent.mkdir(parents=True, exist_ok=True)
        found = load_checkpoint(self.checkpoints, self.identity, engine.sharded_state)
        if found is not None:
            step, position, rest = found
            engine.load_state(rest)
            curve_sha256 = position.pop("curve_sha256", None)
            loop.position = Position(**position)
            steps = self.cell.steps
            logger.info("cell %s resumes at step %d of %d", self.cell.cell, step, steps)
            if curve_sha256 is None and self.process.is_first:
                logger.warning(
                    "%s: its checkpoint, of an earlier version, says nothing of this curve: it is "
                    "not checked for rows that were changed or lost",
                    loop.curve.path,
                )
        elif init_from is not None:
            load_weights(init_from.parent, engine.model)
            engine.weights_replaced()
            logger.info("cell %s begins with the weights of %s", self.cell.cell, init_from.parent)
        # Not at the step: the evaluation there may have come after the checkpoint.
        last = evaluation_step(loop.position.evaluations, self.cell)
        on_first(lambda: loop.curve.begin(last, curve_sha256))
        on_first(lambda: loop.steps.begin(loop.position.step, loop.curve.path))
        if self.process.is_first:
            note_start(self.starts, self.identity, loop.position.step, self.process.layout)

    def save(self) -> None:
        """Save a checkpoint of where the run is."""
        loop = self.loop
        # The first process writes the record, as it does the curve.
        where = loop.position.to_json() | {"curve_sha256": loop.curve.sha256}
        self.saves.save(loop.position.step, where, loop.engine.sharded_state())
        loop.longest_pause = max(loop.longest_pause, self.saves.longest)

    def what_was_made(self) -> str:
        """How far the run is, and how much of it this start made."""
        starts, step = read_starts(self.starts), self.loop.position.step
        return (
            f"start {len(starts)} made {step - starts[-1]['step']} steps, to {step} of "
            f"{self.cell.steps}"
        )

    def finish(self, outcome: Outcome) -> None:
        """Save the final weights, write the record, and keep no checkpoint but the last."""
        position = self.loop.position
        if outcome.status == "finished":
            self.save()
            self.saves.wait()
        peak_memory = peak_memory_bytes(self.process)
        if not self.process.is_first:
            return
        record = result_record(
            self.cell,
            position,
            status=outcome.status,
            reason=outcome.reason,
            unique_tokens=self.order.unique_tokens_seen(position.step * self.cell.batch_rows),
            curve_sha256=self.loop.curve.sha256,
            data_sha256=self.data_sha256,
            held_out_tokens=self.loop.held_out.predicted_tokens(),
            layout=self.process.layout,
            hardware=self.loop.hardware,
            peak_memory=peak_memory,
            starts=read_starts(self.starts),
        )
        if self.loop.reporter:
            self.loop.reporter.finish(record)
        write_json(self.out, record.to_json())
        keep_newest(self.checkpoints, 1)
