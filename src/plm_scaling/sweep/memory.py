"""Memory of one training process, by what it is for.

What autograd keeps for the backward pass is counted tensor by tensor (a test compares it with what
PyTorch saves); docs/training.md has the estimate beside measured runs.
"""

from dataclasses import dataclass, fields

from plm_scaling.sweep.cells import Cell
from plm_scaling.sweep.ladder import VOCABULARY_SIZE
from plm_scaling.sweep.layout import Layout

# What the process has before a model is built. CPU: resident memory after the imports; CUDA, not
# measured: context, cuBLAS, and NCCL's buffers where there are several GPUs.
LIBRARIES_BYTES = {"cpu": 0.45e9, "cuda": 1.0e9}
NCCL_BYTES = 1.5e9
BATCH_BYTES_PER_TOKEN = 36  # inputs, labels and attention's two permutations int64; loss mask fp32
EVALUATION_ROWS = 32  # rows of a forward pass of the evaluation
READ_AHEAD_BYTES = 1 << 25


@dataclass(frozen=True)
class Memory:
    """Bytes of a process at its peak; the terms add up to `total`."""

    weights: float
    optimizer: float
    """Moments of AdamW, and in bf16 the fp32 weights; on CUDA divided over the replicas."""
    gradients: float
    """Those that exist at the peak."""
    activations: float
    """What the forward pass keeps for the backward pass, logits included."""
    working: float
    """Of the operation under way at the peak."""
    data: float
    """Batches and what is read ahead."""
    libraries: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def process_memory(cell: Cell, layout: Layout) -> Memory:
    """Estimated peak of the process that needs most when `cell` is trained in `layout`.

    Of a pipeline that is the first stage, which holds the activations of most passes, or the last
    one, which has the logits.
    """
    if layout.pipeline == 1:
        return _stage_memory(cell, layout, first=True, last=True)
    ends = [_stage_memory(cell, layout, first=first, last=not first) for first in (True, False)]
    return max(ends, key=lambda memory: memory.total)


def _stage_memory(cell: Cell, layout: Layout, first: bool, last: bool) -> Memory:
    cuda = layout.backend == "cuda"
    value_bytes = 2 if cell.precision == "bf16" else 4
    parameters = _parameters(cell, layout, last)
    master = 4 if value_bytes == 2 else 0
    in_flight = min(layout.pipeline, layout.passes(cell)) if first else 1
    pass_tokens = layout.micro_batch_rows * cell.context_length
    activations = in_flight * pass_tokens * saved_bytes_per_token(cell, layout, last)
    working = pass_tokens * _working_bytes_per_token(cell, layout)
    gradients = 4.0 * parameters
    at_peak = gradients
    if not cuda and layout.passes(cell) == 1 and layout.data == 1:
        # Each gradient comes into being as the activations of its layer go.
        at_peak = max(gradients / cell.layers, gradients - activations)
    evaluation = EVALUATION_ROWS * cell.context_length * _forward_bytes_per_token(cell, layout)
    if evaluation + gradients > activations + working + at_peak:
        activations, working, at_peak = 0.0, evaluation, gradients
    return Memory(
        weights=value_bytes * parameters,
        optimizer=(8 + master) * parameters / (layout.data if cuda else 1),
        gradients=at_peak,
        activations=activations,
        working=working,
        data=_data_bytes(cell, layout),
        libraries=LIBRARIES_BYTES[layout.backend]
        + (NCCL_BYTES if cuda and layout.processes > 1 else 0),
    )


def _parameters(cell: Cell, layout: Layout, last: bool) -> float:
    """Parameters of a process in the first or last pipeline stage.

    Both have the embedding, which the output layer shares. Matrices and the biases of those that
    are divided by columns (3d + 2f in `study`) are divided over the tensor processes.
    """
    d, f, layers = cell.hidden, cell.ffn, cell.layers
    divided = 4 * d * d + 3 * d * f + (3 * d + 2 * f if cell.recipe == "study" else 0)
    final_norm = 2 * d if cell.recipe == "study" else d
    whole = cell.n_params - layers * divided - final_norm
    return (
        layers * divided / layout.tensor / layout.pipeline
        + whole / layout.pipeline
        + VOCABULARY_SIZE * d / layout.tensor
        + (final_norm if last else 0)
    )


def saved_bytes_per_token(cell: Cell, layout: Layout, last: bool = True) -> float:
    """Bytes that the forward pass of a stage keeps for the backward pass, per token of the pass."""
    value_bytes = 2 if cell.precision == "bf16" else 4
    layers = cell.layers / layout.pipeline
    shared = layout.tensor if layout.sequence_parallel else 1
    layer = _layer_bytes(cell, layout)
    if layout.recompute == "full":  # the input of each layer, and one layer computed again
        layer, once = value_bytes * cell.hidden / shared, layer
    else:
        once = 0.0
    # Input of the final norm (and scaled input, without a fused kernel) and of the output layer;
    # log-probabilities in fp32.
    wide = 2 if cell.recipe == "study" else 3
    head = wide * value_bytes * cell.hidden / shared + 4 * VOCABULARY_SIZE / layout.tensor
    return layers * layer + once + (head if last else 0)


def _layer_bytes(cell: Cell, layout: Layout) -> float:
    """What one layer keeps, per token.

    In units of d, `study`: inputs and outputs of both norms (the outputs are the inputs of the
    matrices that follow); queries, keys and values as attention reads them, its output, and that
    output in the order of the rows. In units of f: half of the first matrix' output, its GELU, the
    other half, their product. `prenorm`: besides these, what the norms of PyTorch without a fused
    kernel keep (their scaled input), queries, keys and values before QK norm, and the whole output
    of the first matrix.
    """
    value_bytes = 2 if cell.precision == "bf16" else 4
    shared = layout.tensor if layout.sequence_parallel else 1
    whole, divided, wide = (4, 5, 4) if cell.recipe == "study" else (6, 10, 5)
    values = whole * cell.hidden / shared
    values += (divided * cell.hidden + wide * cell.ffn) / layout.tensor
    statistics = 4 * cell.heads / layout.tensor  # log-sum-exp of attention, fp32
    rotary = 4 * 4 * cell.hidden / cell.heads / layout.micro_batch_rows  # of each position, fp32
    return value_bytes * values + statistics + rotary


def _working_bytes_per_token(cell: Cell, layout: Layout) -> float:
    """Of the backward pass of an MLP, or of the loss: beyond what is freed by then."""
    value_bytes = 2 if cell.precision == "bf16" else 4
    mlp = value_bytes * (cell.ffn / layout.tensor + cell.hidden)
    return max(mlp, 2 * 4 * VOCABULARY_SIZE / layout.tensor)


def _forward_bytes_per_token(cell: Cell, layout: Layout) -> float:
    """Of a forward pass that keeps nothing: halves of an MLP, or logits and their logarithms."""
    value_bytes = 2 if cell.precision == "bf16" else 4
    mlp = value_bytes * (5 * cell.ffn / layout.tensor + 2 * cell.hidden)
    return max(mlp, 3 * 4 * VOCABULARY_SIZE / layout.tensor)


def _data_bytes(cell: Cell, layout: Layout) -> float:
    """Batches of a step and the held-out rows; on CUDA they wait in main memory but for one."""
    context = cell.context_length
    if layout.backend == "cuda":
        return BATCH_BYTES_PER_TOKEN * layout.micro_batch_rows * context
    batch_bytes = cell.batch_rows * context
    ahead = min(64 * batch_bytes, max(batch_bytes, READ_AHEAD_BYTES))
    rows = cell.batch_rows / layout.data + cell.valid_rows
    return BATCH_BYTES_PER_TOKEN * rows * context + 2 * ahead
