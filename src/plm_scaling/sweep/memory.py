"""Memory of one training process, by what it is for."""

from dataclasses import dataclass, fields

from plm_scaling.sweep.cells import Cell
from plm_scaling.sweep.ladder import VOCABULARY_SIZE
from plm_scaling.sweep.layout import Layout

CUDA_LIBRARIES_BYTES = 2.0e9
CPU_LIBRARIES_BYTES = 0.5e9


@dataclass(frozen=True)
class Memory:
    """Peak bytes of the process that needs most."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    libraries: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def process_memory(cell: Cell, layout: Layout) -> Memory:
    """Estimated peak of training `cell` in `layout`: the process that needs most."""
    value_bytes = 2 if cell.precision == "bf16" else 4
    parameters = cell.n_params_total / layout.tensor / layout.pipeline
    tokens = layout.micro_batch_rows * cell.context_length
    d, f = cell.hidden, cell.ffn
    layers = cell.layers / layout.pipeline * min(layout.pipeline, layout.passes(cell))
    per_layer = (9 * d + 5 * f) / layout.tensor
    kept = layers * per_layer
    if layout.recompute == "full":
        kept = layers * d / (layout.tensor if layout.sequence_parallel else 1) + per_layer
    master = 8 + (4 if value_bytes == 2 else 0)
    return Memory(
        weights=value_bytes * parameters,
        gradients=4 * parameters,
        optimizer=master * parameters / (layout.data if layout.backend == "cuda" else 1),
        activations=value_bytes * kept * tokens,
        logits=12 * VOCABULARY_SIZE / layout.tensor * tokens,
        libraries=CUDA_LIBRARIES_BYTES if layout.backend == "cuda" else CPU_LIBRARIES_BYTES,
    )
