"""Train adapters and a head on the items of a benchmark, as the study's scripts do."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from plm_scaling.common.progress import Progress
from plm_scaling.config.downstream import Lora
from plm_scaling.inference.arrays import Ints

WARMUP = 0.05  # of the steps; then the rate falls linearly to 0
MAX_NORM = 1.0  # of a gradient
TOKENS_AT_ONCE = 4096  # whose activations are held for a backward pass


def tune(
    parameters: list[nn.Parameter],
    loss_of: Callable[[Ints], Tensor],
    lengths: Ints,
    lora: Lora,
    seed: int,
) -> None:
    """Lower the mean loss of items of these lengths (residues) with AdamW, without weight decay.

    `loss_of` gives the summed loss of items by their numbers. Each epoch takes all of them, in an
    order of its own, `lora.batch` to a step.
    """
    count = len(lengths)
    starts = range(0, count, lora.batch)
    steps = lora.epochs * len(starts)
    warmup = max(1, round(WARMUP * steps))
    optimiser = torch.optim.AdamW(parameters, lr=lora.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)),
    )
    random = np.random.default_rng(seed)
    progress = Progress("lora", lora.epochs * int(lengths.sum()), "residues")
    with torch.enable_grad():
        for _ in range(lora.epochs):
            order = random.permutation(count)
            for start in starts:
                batch = order[start : start + lora.batch]
                for part in _parts(batch, lengths):
                    (loss_of(part) / len(batch)).backward(inputs=parameters)
                    progress.add(int(lengths[part].sum()))
                nn.utils.clip_grad_norm_(parameters, MAX_NORM)
                optimiser.step()
                optimiser.zero_grad()
                schedule.step()


def _parts(batch: Ints, lengths: Ints) -> Iterator[Ints]:
    """The items of a batch, in groups of at most `TOKENS_AT_ONCE` residues or one item."""
    total = np.cumsum(lengths[batch])
    begin = 0
    while begin < len(batch):
        before = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + TOKENS_AT_ONCE, "right")))
        yield batch[begin:end]
        begin = end
