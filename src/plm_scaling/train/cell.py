"""Train one cell, from its first step or from its last checkpoint, to its record."""

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core.models.gpt import GPTModel

from plm_scaling.errors import TrainError
from plm_scaling.files import write_json
from plm_scaling.sweep.cells import Cell
from plm_scaling.tokens.dataset import TokenCorpus
from plm_scaling.tokens.manifest import data_sha256
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.batches import Batch, batch_of
from plm_scaling.train.checkpoint import load_checkpoint, save_checkpoint
from plm_scaling.train.curve import append_curve, truncate_curve
from plm_scaling.train.evaluate import evaluate, held_out
from plm_scaling.train.losses import model_losses
from plm_scaling.train.model import build_model
from plm_scaling.train.optimizer import learning_rate, make_optimizer
from plm_scaling.train.process import cpu_process
from plm_scaling.train.record import result_record
from plm_scaling.train.report import CellReporter
from plm_scaling.train.sharded import load_adamw, load_model, sharded_adamw, sharded_model

logger = logging.getLogger("plm_scaling")

READ_AHEAD_STEPS = 64


@dataclass
class Position:
    """Where a run is; with model and optimizer, all that a resume needs.

    The rows of a step are a pure function of (data_seed, step), and so are the MLM masks, so no
    random state is needed besides.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    interval_loss: float = 0.0
    interval_steps: int = 0
    seconds: float = 0.0


def train_cell(
    cell: str, manifest: Path, out: Path, threads: int, checkpoint_seconds: float
) -> None:
    """Train the cell given as JSON on the corpus of `manifest`; write `out` (result.json) last.

    curve.csv and checkpoints/ grow beside `out`. Killed at any moment and started again, the cell
    goes on from its last checkpoint and ends with the same losses. A cell whose loss diverges is
    a result too. Raises `TrainError` when the cell does not fit the corpus or the checkpoints are
    another cell's, `TokenError` when a shard is damaged.
    """
    spec = Cell.from_json(cell)
    corpus = TokenCorpus.open(manifest)
    if corpus.context_length != spec.context_length:
        raise TrainError(
            f"{manifest}: rows of {corpus.context_length} tokens, but cell {spec.cell} has context "
            f"length {spec.context_length}; make the tokens anew"
        )
    with cpu_process(threads, spec.seed):
        run = _Run(spec, corpus, out)
        run.resume()
        status, reason = run.train(checkpoint_seconds)
        run.finish(status, reason)


class _Run:
    """Model, optimizer, data and files of one cell."""

    def __init__(self, cell: Cell, corpus: TokenCorpus, out: Path) -> None:
        self.cell = cell
        self.out = out
        self.curve = out.with_name("curve.csv")
        self.checkpoints = out.with_name("checkpoints")
        self.data_sha256 = data_sha256(corpus.manifest, cell.mixture, cell.strata)
        self.identity = {
            "cell": cell.cell,
            "data_sha256": self.data_sha256,
            "stage_version": str(STAGE_VERSION),
        }
        self.rows = corpus.train_rows(
            cell.mixture, cell.strata, cell.unique_tokens_limit, cell.data_seed
        )
        self.held_out = held_out(corpus, cell)
        self.model: GPTModel = build_model(cell)
        self.parameters = list(self.model.parameters())  # walking the modules takes 3 % of a step
        self.optimizer = make_optimizer(self.model, cell)
        self.position = Position()
        self.read_begin, self.read_rows = -1, np.empty((0, cell.context_length), np.uint8)
        self.reporter = CellReporter(cell, out)

    def resume(self) -> None:
        """Go to the last checkpoint, if there is one, and cut the curve there."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        found = load_checkpoint(self.checkpoints, self.identity, self.sharded_state)
        if found is not None:
            step, position, state = found
            load_model(self.model, state["model"])
            load_adamw(self.optimizer, self.model, state["optimizer"])
            self.position = Position(**position)
            logger.info("%s resumes at step %d of %d", self.reporter.label, step, self.cell.steps)
        truncate_curve(self.curve, self.position.step)

    def sharded_state(self) -> dict[str, Any]:
        """Model and optimizer, to be written or read into."""
        weights = sharded_model(self.model)
        return {"model": weights, "optimizer": sharded_adamw(self.optimizer, self.model, weights)}

    def save(self) -> None:
        position = vars(self.position)
        state = self.sharded_state()
        save_checkpoint(self.checkpoints, self.position.step, self.identity, position, state)

    def train(self, checkpoint_seconds: float) -> tuple[str, str]:
        """Train to the last step. Returns (status, reason)."""
        cell, position = self.cell, self.position
        evaluation_steps = {
            round(k * cell.steps / cell.evaluations) for k in range(1, cell.evaluations + 1)
        }
        clock = saved = time.monotonic()
        while position.step < cell.steps:
            loss = self.step()
            position.step += 1
            position.interval_loss += loss
            position.interval_steps += 1
            now = time.monotonic()
            position.seconds += now - clock
            clock = now
            if not math.isfinite(loss):
                return "diverged", f"training loss {loss} at step {position.step}"
            if position.step in evaluation_steps:
                valid_loss = self.evaluate()
                clock = time.monotonic()
                warm = position.step > cell.warmup_steps
                if not math.isfinite(valid_loss) or (warm and valid_loss > cell.divergence_loss):
                    return "diverged", f"validation loss {valid_loss} at step {position.step}"
            self.reporter.report(position.step, position.losses, position.seconds)
            if now - saved >= checkpoint_seconds:
                self.save()
                clock = saved = time.monotonic()
        return "finished", ""

    def step(self) -> float:
        """One optimizer step. Returns its mean loss in nats/token."""
        cell = self.cell
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.position.step + 1, cell)
        batch = self.batch(self.position.step * cell.batch_rows)
        losses = model_losses(self.model, batch)
        loss = (losses * batch.loss_mask).sum() / batch.loss_mask.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, cell.gradient_clip)
        self.optimizer.step()
        return loss.item()

    def batch(self, first_row: int) -> Batch:
        """The batch that starts at `first_row`, counted from the start of training."""
        ahead = self.cell.batch_rows * READ_AHEAD_STEPS
        begin = first_row // ahead * ahead
        if begin != self.read_begin:  # many small reads would take a tenth of a small model's step
            self.read_begin, self.read_rows = begin, self.rows.batch(begin, ahead)
        rows = self.read_rows[first_row - begin :][: self.cell.batch_rows]
        return batch_of(self.cell, rows, first_row)

    def evaluate(self) -> float:
        """Evaluate, append to the curve, and return the validation loss in nats/token."""
        cell, position = self.cell, self.position
        losses = evaluate(self.model, self.held_out)
        train_loss = position.interval_loss / position.interval_steps
        tokens = position.step * cell.batch_rows * cell.context_length
        append_curve(
            self.curve,
            [
                (
                    position.step,
                    tokens,
                    6.0 * cell.n_params * tokens,
                    split,
                    loss,
                    learning_rate(position.step, cell),
                    round(tokens / position.seconds, 1),
                )
                for split, loss in {"train": train_loss, **losses}.items()
            ],
        )
        valid_loss = losses["valid"]
        position.interval_loss, position.interval_steps = 0.0, 0
        if math.isfinite(valid_loss):
            position.losses.append(valid_loss)
        return valid_loss

    def finish(self, status: str, reason: str) -> None:
        """Save the final weights and write the record, last."""
        if status == "finished":
            self.save()
        record = result_record(
            self.cell,
            status=status,
            reason=reason,
            step=self.position.step,
            losses=self.position.losses,
            unique_tokens=self.rows.unique_tokens_seen(self.position.step * self.cell.batch_rows),
            curve=self.curve,
            wall_seconds=self.position.seconds,
            data_sha256=self.data_sha256,
            held_out_tokens=self.held_out.predicted_tokens(),
        )
        self.reporter.finish(record)
        write_json(self.out, record)
