"""A cell of a sweep: one training run, by every fact that decides its result."""

import hashlib
import json
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from plm_scaling.common.errors import SweepError
from plm_scaling.study.shapes import Shape

MAX_EPOCHS = 4.0  # up to here repeated tokens are as good as new (Muennighoff et al. 2023)


@dataclass(frozen=True)
class Cell:
    """One training run. Every fact that decides its result is a field; the id is a hash of them.

    A field that came later has as its default what held before, and is left out of the JSON while
    it has it, so that earlier cells keep their ids.
    """

    objective: str
    recipe: str
    size: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    n_params: int
    n_params_total: int
    tokens: int
    steps: int
    batch_rows: int
    context_length: int
    flops_budget: float
    flops: float
    flops_exact: float
    corpus: str
    mixture: dict[str, float]
    strata: list[str]
    unique_tokens_limit: float | dict[str, float] | None
    mask_ratio: float | None
    masking: str | None
    init_from: str | None
    source_flops: float | None
    seed: int
    data_seed: int
    peak_learning_rate: float
    final_learning_rate: float
    warmup_steps: int
    weight_decay: float
    beta1: float
    beta2: float
    gradient_clip: float
    init_std: float
    precision: str
    evaluations: int
    valid_rows: int
    divergence_loss: float
    spike_loss: float
    max_skipped_steps: int
    initialisation: str = "normal"
    document_mask: bool = True
    positions: str = "row"
    common_evaluation: bool = False
    start_token: bool = False
    mup_base_width: int | None = None
    mup_base_channels: int | None = None

    @property
    def cell(self) -> str:
        """Opaque id: ten hex digits of the SHA-256 of the fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:10]

    @property
    def shape(self) -> Shape:
        return Shape(self.layers, self.hidden, self.ffn, self.heads)

    @property
    def recipe_in_tables(self) -> str:
        """The recipe, with what keeps its runs from being compared with others of it: with a start
        token losses count first residues, too, and with muP widths are trained in another way."""
        start = "+start_token" if self.start_token else ""
        return self.recipe + start + ("+mup" if self.mup_base_width else "")

    @property
    def row_prefix(self) -> tuple[str, ...]:
        """Names of special tokens that begin each row that the model reads."""
        return ()

    @property
    def epochs(self) -> float | None:
        """How often the scarcest source is gone through at most, as far as a limit is set: tokens
        count padding, limits do not."""
        limits = self.unique_tokens_limit
        if limits is not None and not isinstance(limits, dict):
            return self.tokens / limits
        of_source = [self.mixture[s] * self.tokens / limit for s, limit in (limits or {}).items()]
        return max(of_source, default=None)

    def to_json(self) -> str:
        """One line of JSON, as the training program takes it."""
        return self._json

    @cached_property  # id and job of each of tens of thousands of cells want it
    def _json(self) -> str:
        told = {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }
        return json.dumps(told, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Cell":
        """Inverse of `to_json`. Raises `SweepError` naming missing or unknown fields."""
        return cls(**read_fields(cls, text))


@dataclass(frozen=True)
class ImportedCell(Cell):
    """A model that was trained elsewhere: its shape, its objective and how it reads a sequence.

    Every other field of a cell is None: what only its training knew.
    """

    files: dict[str, str] | None = None
    """SHA-256 of each file of weights that it was imported from, by name."""
    prefix: list[str] | None = None
    """Names of special tokens that begin each row."""

    @property
    def row_prefix(self) -> tuple[str, ...]:
        return tuple(self.prefix or ())


def read_fields(kind: type, text: str) -> dict[str, Any]:
    """The fields of a `Cell` or `Layout` in JSON. Raises `SweepError` if they are others."""
    name = kind.__name__.lower()
    try:
        values = json.loads(text)
    except ValueError as error:
        raise SweepError(f"--{name} is not JSON: {error}; take it from Snakemake's log") from error
    given = set(values if isinstance(values, dict) else [])
    known = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    if different := ", ".join(sorted((needed - given) | (given - known))):
        raise SweepError(f"--{name} is not a {name} of this version; fields differ: {different}")
    return dict(values)
