"""Where a run is; with model and optimizer, all that a resume needs."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from plm_scaling.study.cell import Cell
from plm_scaling.train.engine.base import Step

MEAN_STEPS = 100  # the running mean of the loss is over about so many steps
SPIKES_AFTER_STEPS = 20  # so many losses are in the mean before it judges one


@dataclass
class Position:
    """The state of the loop.

    The rows of a step, their masks and its learning rate are pure functions of the step, so no
    random state is needed besides. All values are numbers and text, which JSON keeps exactly.
    """

    step: int = 0
    evaluations: int = 0
    losses: list[float] = field(default_factory=list)
    """The finite losses on `valid` (nats/token), one per evaluation."""
    held_out: dict[str, float | None] = field(default_factory=dict)
    """The last loss on each held-out set (nats/token); None if it was non-finite."""
    interval: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Of the steps since the last evaluation that were not skipped: their number, the sum of their
    losses and that of their gradient norms."""
    mean_loss: float = 0.0
    mean_steps: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    """Step, loss and gradient norm of each skipped step; non-finite values as text."""
    unpadded_tokens: int = 0
    attended: float = 0.0
    """Pairs of a token and one that it attends to, in all steps."""
    seconds: float = 0.0
    """Time of all training steps, without evaluations and checkpoints."""

    def loss_limit(self, cell: Cell) -> float:
        """The loss above which the next step is skipped.

        `spike_loss` above the running mean of the steps that were not skipped:
        m_k = m_(k-1) + (loss_k - m_(k-1)) / min(k, 100), from the 20th on.
        """
        if self.mean_steps < SPIKES_AFTER_STEPS:
            return math.inf
        return self.mean_loss + cell.spike_loss

    def count(self, step: Step, unpadded_tokens: int, attended: float, seconds: float) -> None:
        """Take account of a step that was made or skipped."""
        self.step += 1
        self.unpadded_tokens += unpadded_tokens
        self.attended += attended
        self.seconds += seconds
        if step.loss is None:
            return
        if step.skipped:
            self.skipped.append(
                {
                    "step": self.step,
                    "loss": _number(step.loss),
                    "gradient_norm": _number(step.gradient_norm),
                }
            )
            return
        self.mean_steps += 1
        self.mean_loss += (step.loss - self.mean_loss) / min(self.mean_steps, MEAN_STEPS)
        self.interval[0] += 1
        self.interval[1] += step.loss
        self.interval[2] += step.gradient_norm

    def evaluated(self, losses: dict[str, float]) -> tuple[float | None, float | None]:
        """Take account of an evaluation.

        Returns mean loss and mean gradient norm of the training steps since the last one, None if
        all of them were skipped.
        """
        steps, loss, gradient_norm = self.interval
        self.interval = [0.0, 0.0, 0.0]
        self.evaluations += 1
        self.held_out = {n: value if math.isfinite(value) else None for n, value in losses.items()}
        if math.isfinite(losses["valid"]):
            self.losses.append(losses["valid"])
        return (loss / steps, gradient_norm / steps) if steps else (None, None)

    def to_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return asdict(self)


def evaluation_step(number: int, cell: Cell) -> int:
    """The step after which evaluation `number` is due, from 1 to `evaluations`; 0 for number 0.

    They are evenly spaced, the last at the end.
    """
    return round(number * cell.steps / cell.evaluations)


def too_many_skipped(position: Position, cell: Cell) -> str:
    """Why the run has diverged by its training steps; empty if it has not."""
    skipped = position.skipped
    if len(skipped) <= cell.max_skipped_steps:
        return ""
    last = skipped[-1]
    return (
        f"{len(skipped)} steps had a loss or gradient norm that is not finite, or a loss more than "
        f"{cell.spike_loss:g} above the running mean, and {cell.max_skipped_steps} may; the last, "
        f"step {last['step']}, had loss {last['loss']} and gradient norm {last['gradient_norm']} "
        f"(mean loss {position.mean_loss:.4f})"
    )


def held_out_divergence(position: Position, cell: Cell) -> str:
    """Why the run has diverged by the evaluation just made; empty if it has not."""
    loss = position.held_out["valid"]
    if loss is None:
        return f"validation loss not finite at step {position.step}"
    if position.step > cell.warmup_steps and loss > cell.divergence_loss:
        return f"validation loss {loss} at step {position.step}, above {cell.divergence_loss:g}"
    return ""


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
