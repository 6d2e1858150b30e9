"""Config block of training, and what in it may depend on a model's size."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from plm_scaling.config.numbers import (
    Block,
    Count,
    Follows,
    Fraction,
    Number,
    Positive,
)
from plm_scaling.config.sweep import Objective

Precision = Literal["bf16", "fp32"]
Initialisation = Literal["study", "normal"]
Positions = Literal["row", "protein"]


class FromSize(Block):
    """A value that holds from a model size upwards."""

    from_parameters: Annotated[Number, Field(ge=0)]
    """Holds for models with at least this many non-embedding parameters, up to the next entry."""
    value: Positive
    """The value."""


class PowerLaw(Block):
    """k·N^α·D^β·B^δ, with D the tokens of the budget, C/(6·N), and B those of a batch."""

    factor: Positive
    """k, for N in parameters, D and B in tokens."""
    parameters: Number
    """α, the exponent of N."""
    tokens: Number
    """β, the exponent of D."""
    batch: Number = 0.0
    """δ, the exponent of B; for learning rates only."""

    @model_serializer(mode="wrap")
    def _without_zero(self, as_usual: SerializerFunctionWrapHandler) -> dict[str, float]:
        """As before there was the key, or Snakemake would plan the sweeps of that time again."""
        values: dict[str, float] = as_usual(self)
        return {name: value for name, value in values.items() if name != "batch" or value}


def _form(value: Any) -> str | None:
    if isinstance(value, list):
        return TABLE
    return POWER_LAW if isinstance(value, dict | PowerLaw) else None


# No key or name of a config is written so: messages leave them out.
TABLE, POWER_LAW = "(by size)", "(power law)"
BySize = Annotated[list[FromSize], Field(min_length=1)]
OfSizeAndTokens = Annotated[
    Annotated[BySize, Tag(TABLE)] | Annotated[PowerLaw, Tag(POWER_LAW)],
    Discriminator(
        _form,
        custom_error_type="form",
        custom_error_message="give a table by size, [{from_parameters: 0, value: 1e-3}], or a "
        "power law, {factor: 1.79, parameters: -0.713, tokens: 0.307}",
    ),
]


def by_size(values: Mapping[float, float]) -> list[FromSize]:
    """A table of values by the model sizes (parameters) from which they hold."""
    return [FromSize(from_parameters=float(n), value=float(v)) for n, v in values.items()]


STUDY_RATES: OfSizeAndTokens = by_size(
    {
        **{0: 1e-3, 2e7: 6e-4, 8e7: 5.5e-4, 1.3e8: 5e-4},
        **{3e8: 4e-4, 6.5e8: 3.5e-4, 1e9: 3e-4, 6.5e9: 1.2e-4},
    }
)


class Mup(Block):
    """The model whose settings those of all widths follow from (muP, docs/training.md)."""

    base_width: Count
    """Width for which peak_learning_rate, init_std and weight_decay are given."""
    base_channels: Count
    """Channels of each of its attention heads (64 in the study's sizes below 7B)."""


class Training(Block):
    """How a cell is trained: AdamW, linear warm-up, cosine decay over the cell's own budget."""

    batch_tokens: OfSizeAndTokens = by_size({0: 524288, 1e9: 1048576})
    """Tokens per optimizer step, from a model size upwards (study: 512 rows below 1B parameters,
    1024 rows from there). Or a power law of N and D, such as Step Law's {factor: 0.58, parameters:
    0, tokens: 0.571}, rounded to rows that GPUs can share (docs/training.md)."""
    peak_learning_rate: dict[Objective, OfSizeAndTokens] = {
        "clm": STUDY_RATES,
        "mlm": STUDY_RATES,
    }
    """Peak learning rate by objective, from a model size upwards. The study has the same for both
    objectives; where it names none, the neighbour's is taken. Or a power law of N and D, such as
    Step Law's {factor: 1.79, parameters: -0.713, tokens: 0.307}, and with a key batch of the
    batch's tokens, too (docs/training.md)."""
    warmup_fraction: Fraction = 0.025
    """Share of the steps with linearly rising learning rate (0.025 in the study)."""
    transfer_warmup_fraction: Fraction = 0.05
    """The same for the cells of sweep.transfer (0.05 in the study)."""
    final_learning_rate_fraction: Fraction = 0.1
    """Learning rate at the end, as a share of the peak (0.1 in the study)."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.1
    """AdamW weight decay; not applied to biases and LayerNorm."""
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    """AdamW β1."""
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.95
    """AdamW β2 (0.95 in the study)."""
    gradient_clip: Positive = 1.0
    """Gradients are scaled down to this norm."""
    initialisation: Initialisation = "study"
    """Initial weights of recipe study. study: Xavier's deviation by each matrix's shape, as in the
    authors' code. normal: init_std for every matrix. Both with DeepNorm's factors
    (docs/training.md). Recipe prenorm has normal."""
    init_std: BySize = by_size({0: 0.02})
    """Standard deviation of initial weights, from a model size upwards; with initialisation study,
    of the embeddings only. 0.02 (the study's) suits widths of hundreds and more; narrower models
    need about sqrt(2/(5·width))."""
    document_mask: bool = True
    """true: tokens of a packed row attend only within their protein. false: within the whole row,
    as in the authors' code. No protein's first token is predicted from the one before either way,
    and of a single protein models see the same."""
    positions: Positions = "row"
    """Where rotary positions count from. row: the beginning of the row, as in the authors' code.
    protein: that of the protein (or its piece) in the row. Only their differences matter, so
    results differ by rounding; with protein those in bf16 do not depend on where it was packed."""
    precision: Annotated[Precision, Follows("bf16; with machine.backend cpu fp32")]
    """Of matrix products and activations: bf16 (the study's; on CPUs several times slower) or fp32.
    Weights, gradients and AdamW are fp32 either way."""
    evaluations: Count = 40
    """Evaluations on the held-out rows per cell, evenly spaced in tokens, the last at the end."""
    valid_rows: Count = 256
    """Held-out rows per evaluation; the same rows every time (3 M tokens in the study)."""
    common_evaluation: bool = False
    """true: MLM cells are evaluated on the same rows also with one masking for all (15 %, each
    residue on its own, by <mask>), as the held-out set `common`: cells of different maskings and
    mask ratios compare by it. Laws do not use it."""
    checkpoint_seconds: Positive = 900
    """Wall time (seconds) between checkpoints; a killed cell loses at most this much."""
    start_minutes: Positive = 30
    """Minutes within which a start must have made a step, after meeting of its processes, reading
    of the shards and loading of a checkpoint; otherwise it ends and says what it waited for."""
    step_log_rows: Count = 1000
    """Rows of a run's steps.csv, at most, evenly spaced in steps; no cell is trained again when it
    changes."""
    tensorboard: bool = False
    """true: runs also write event files for TensorBoard, if the package tensorboard is installed
    (docs/training.md); no cell is trained again when it changes."""
    divergence_loss: Positive = 3.5
    """A cell whose validation loss (nats/token) is above this after warm-up has diverged, as has
    one whose validation loss is non-finite (ln 20 is 3.0)."""
    spike_loss: Positive = 1.0
    """A training step is skipped when its loss (nats/token) is further than this above the running
    mean, or when its loss or gradient is non-finite: weights and AdamW stay as they are, and the
    run continues with the next batch."""
    max_skipped_steps: Annotated[int, Field(ge=0)] = 20
    """Skipped steps that a cell may have; one more, and it has diverged."""
    mup: Mup | None = None
    """null, or {base_width: 256, base_channels: 64}: muP (docs/training.md), which makes the best
    learning rate of one width that of all. Peak learning rate, init_std and weight decay are then
    those of a model of that width; one that is m times as wide has 1/m of the rate and √(1/m) of
    the deviation in its layers' matrices. Only for recipe prenorm; says nothing of depth."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        rates = {f"peak_learning_rate.{o}": by for o, by in self.peak_learning_rate.items()}
        by_size = {"batch_tokens": self.batch_tokens, "init_std": self.init_std, **rates}
        for name, entries in by_size.items():
            if not isinstance(entries, PowerLaw):
                ascending(name, entries)
        if isinstance(self.batch_tokens, PowerLaw) and self.batch_tokens.batch:
            raise ValueError("batch_tokens: a batch is no power of itself; leave out its key batch")
        return self

    @model_validator(mode="after")
    def _one_value_with_mup(self) -> Self:
        if self.mup is None:
            return self
        rates = {f"peak_learning_rate.{o}": by for o, by in self.peak_learning_rate.items()}
        for name, entries in {"init_std": self.init_std, **rates}.items():
            if entries.parameters if isinstance(entries, PowerLaw) else len(entries) > 1:
                raise ValueError(
                    f"{name} changes with the size, but with mup one value, that of a model of "
                    "mup.base_width, holds for all; give one entry, or set mup to null"
                )
        return self


def ascending(name: str, entries: Sequence[FromSize]) -> None:
    """Raise `ValueError` unless the entries hold from 0 parameters upwards, each once."""
    starts = [entry.from_parameters for entry in entries]
    if starts[0] != 0 or starts != sorted(set(starts)):
        raise ValueError(f"{name}: from_parameters must start at 0 and rise")
