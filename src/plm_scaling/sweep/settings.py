"""Batch, learning rate and what else the axes of a sweep vary, for a model of N parameters and D
tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.training import FromSize, PowerLaw

BATCH_BITS = 4  # of a computed batch's rows, so that replicas can share them


@dataclass(frozen=True)
class Setting:
    """What a cell has in place of what is configured; None: that."""

    learning_rate_factor: float = 1
    """Of the configured peak learning rate."""
    batch_factor: float = 1
    """Of the configured batch."""
    weight_decay: float | None = None
    mask_ratio: float | None = None


AS_CONFIGURED = Setting()


def settings(config: SweepInputs) -> Iterator[Setting]:
    """Each value of each axis of the sweep with each of the others; that which is configured is the
    first, since of equally common mask ratios the laws take the first in the table."""
    axes = config.sweep.axes
    configured = {"mask_ratio": config.sweep.mask_ratio}
    configured |= {"weight_decay": config.training.weight_decay}
    ordered = [
        sorted(values, key=lambda value: value != configured.get(axis, 1))
        for axis, values in axes.items()
    ]
    for values in product(*ordered):
        yield Setting(**dict(zip(axes, values, strict=True)))


def value_at(
    given: Sequence[FromSize] | PowerLaw, n_params: int, tokens: float, batch_tokens: float = 1
) -> float:
    """The value for a model of `n_params` non-embedding parameters and so many tokens, in batches
    of `batch_tokens`, which make no difference where the value is the batch itself."""
    if isinstance(given, PowerLaw):
        of_batch = batch_tokens**given.batch
        return given.factor * n_params**given.parameters * tokens**given.tokens * of_batch
    return by_size(given, n_params)


def by_size(entries: Sequence[FromSize], n_params: int) -> float:
    """The value that holds for a model of `n_params` non-embedding parameters."""
    return next(e.value for e in reversed(entries) if n_params >= e.from_parameters)


def batch_rows_at(
    given: Sequence[FromSize] | PowerLaw,
    n_params: int,
    tokens: float,
    context: int,
    factor: float = 1,
) -> int:
    """Rows of `context` tokens in a batch, at least one: as many as a table by size says, rounded,
    or `shared_rows` of what a power law or a `factor` gives."""
    rows = value_at(given, n_params, tokens) * factor / context
    computed = isinstance(given, PowerLaw) or factor != 1
    return shared_rows(rows) if computed else max(1, round(rows))


def shared_rows(rows: float) -> int:
    """The number nearest to `rows` that is at least 1 and below 16 times a power of two: at most
    1/16 away above 8 rows, and from 64 rows on a multiple of 8 that eight GPUs can share."""
    step = 1
    while rows >= step << BATCH_BITS:
        step <<= 1
    return max(1, round(rows / step)) * step
