"""Memory of one training process, by what it is for.

What autograd keeps for the backward pass is counted tensor by tensor (a test compares it with what
PyTorch saves); docs/benchmarks.md compares the estimate with measured runs.
"""

from dataclasses import dataclass, fields

from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import VOCABULARY_SIZE

# What the process has before a model is built. CPU: resident memory after the imports; CUDA, not
# measured: context, cuBLAS, and NCCL's buffers where there are several GPUs.
LIBRARIES_BYTES = {"cpu": 0.48e9, "cuda": 1.0e9}
NCCL_BYTES = 1.5e9
STATE_BYTES = 12  # per parameter in a checkpoint: weights and AdamW's two moments, in fp32
# Holes between tensors of many sizes, as a share of those that come and go. CPU: measured, the C
# library's heap, in one pass per step and in several, whose gradients stay in between; CUDA:
# assumed, PyTorch's allocator.
CPU_FRAGMENTED_SHARE = {False: 0.25, True: 0.45}
CUDA_FRAGMENTED_SHARE = 0.05
# The C library's heap keeps this share of what came and went in training (measured) when an
# evaluation begins, whose larger tensors do not go there.
HELD_SHARE = 0.6
BATCH_BYTES_PER_TOKEN = 44  # inputs, labels, places and permutations int64; loss mask fp32
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
    fragmented: float
    """Between tensors, of no use to the allocator."""
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


def checkpoint_bytes(cell: Cell, layout: Layout) -> float:
    """Main memory that a checkpoint takes in each process of the cuda backend, on top of the rest.

    That is a copy of what the process owns of AdamW's state, fp32 weights and two moments, which is
    written while training goes on. Reading takes a tensor at a time.
    """
    return STATE_BYTES * _parameters(cell, layout, last=True) / layout.data


def _stage_memory(cell: Cell, layout: Layout, first: bool, last: bool) -> Memory:
    cuda = layout.backend == "cuda"
    value_bytes = 2 if cell.precision == "bf16" else 4
    parameters = _parameters(cell, layout, last)
    master = 4 if value_bytes == 2 else 0
    libraries = LIBRARIES_BYTES[layout.backend]
    if cuda and layout.processes > 1:
        libraries += NCCL_BYTES
    training = _training(cell, layout, parameters, first, last)
    evaluation = _evaluation(cell, layout)
    if not cuda:
        evaluation["fragmented"] = HELD_SHARE * (sum(training.values()) - training["gradients"])
    evaluation["gradients"] = 4.0 * parameters
    return Memory(
        weights=value_bytes * parameters,
        optimizer=(8 + master) * parameters / (layout.data if cuda else 1),
        data=_data_bytes(cell, layout),
        libraries=libraries,
        **max(training, evaluation, key=lambda terms: sum(terms.values())),
    )


def _training(
    cell: Cell, layout: Layout, parameters: float, first: bool, last: bool
) -> dict[str, float]:
    """Terms that come and go with a training pass, at the start of its backward pass."""
    several = layout.passes(cell) > 1
    in_flight = min(layout.pipeline, layout.passes(cell)) if first else 1
    pass_tokens = layout.micro_batch_rows * cell.context_length
    activations = in_flight * pass_tokens * saved_bytes_per_token(cell, layout, last)
    working = pass_tokens * _working_bytes_per_token(cell, layout)
    gradients = 4.0 * parameters
    if layout.backend == "cpu" and layout.data == 1 and not several:
        # Each gradient comes into being as the activations of its layer go.
        gradients = max(0.0, gradients - activations)
    share = CPU_FRAGMENTED_SHARE[several] if layout.backend == "cpu" else CUDA_FRAGMENTED_SHARE
    return {
        "gradients": gradients,
        "activations": activations,
        "working": working,
        "fragmented": share * (activations + working),
    }


def _evaluation(cell: Cell, layout: Layout) -> dict[str, float]:
    """The same of a forward pass over held-out rows."""
    working = EVALUATION_ROWS * cell.context_length * _forward_bytes_per_token(cell, layout)
    fragmented = CUDA_FRAGMENTED_SHARE * working
    return {"activations": 0.0, "working": working, "fragmented": fragmented}


def _parameters(cell: Cell, layout: Layout, last: bool) -> float:
    """Parameters of a process in the first or last pipeline stage.

    Both have the embedding, which the output layer shares. Matrices and the biases of those that
    are divided by columns (3d + 2f in `study`) are divided over the tensor processes.
    """
    d, f, layers = cell.hidden, cell.ffn, cell.layers
    of_width = 3 * d + (2 if cell.recipe == "study" else 0)
    divided = 4 * d * d + (3 * d if cell.recipe == "study" else 0) + of_width * f
    final_norm = 2 * d if cell.recipe == "study" else d
    padding = of_width * (layout.ffn(cell) - f / layout.tensor)
    whole = cell.n_params - layers * divided - final_norm
    return (
        layers * (divided / layout.tensor + padding) / layout.pipeline
        + whole / layout.pipeline
        + VOCABULARY_SIZE * d / layout.tensor
        + (final_norm if last else 0)
    )


def saved_bytes_per_token(cell: Cell, layout: Layout, last: bool = True) -> float:
    """Bytes that the forward pass of a stage keeps for the backward pass, per token of the pass."""
    value_bytes = 2 if cell.precision == "bf16" else 4
    shared = layout.tensor if layout.sequence_parallel else 1
    layers, layer, once = cell.layers / layout.pipeline, _layer_bytes(cell, layout), 0.0
    if layout.recompute == "full":  # the input of each layer, and one layer computed again
        layer, once = value_bytes * cell.hidden / shared, layer
    # Cosines and sines of the rotary angles; on CPUs they belong to the batch.
    rotary = 2 * value_bytes * cell.hidden / cell.heads if layout.backend == "cuda" else 0.0
    # Input of the final norm and of the output layer; log-probabilities in fp32.
    head = 2 * value_bytes * cell.hidden / shared + 4 * VOCABULARY_SIZE / layout.tensor
    return layers * layer + once + rotary + (head if last else 0)


def _layer_bytes(cell: Cell, layout: Layout) -> float:
    """What one layer keeps, per token.

    In units of d: inputs of both norms and of the two matrices that follow them (whole in each
    process without sequence parallelism); queries, keys and values, on CPUs the first two once more
    as the rotary angles rotated them, the output of attention; in `prenorm` also queries, keys and
    values before QK norm. In units of f: both halves of the first matrix' output, their product,
    and on CPUs the activation of the first half, which the compiled kernel of GPUs computes again.
    """
    value_bytes = 2 if cell.precision == "bf16" else 4
    shared = layout.tensor if layout.sequence_parallel else 1
    cuda = layout.backend == "cuda"
    widths = (4 if cuda else 6) + (0 if cell.recipe == "study" else 3)
    attention = widths * cell.hidden / layout.tensor
    mlp = (3 if cuda else 4) * layout.ffn(cell)
    # Log-sum-exp of attention; scale of each norm (LayerNorm: and mean) and each QK norm; fp32.
    statistics = 4 * cell.heads / layout.tensor + (16 if cell.recipe == "study" else 8)
    if cell.recipe == "prenorm":
        statistics += 8 * cell.heads / layout.tensor
    return value_bytes * (4 * cell.hidden / shared + attention + mlp) + statistics


def _working_bytes_per_token(cell: Cell, layout: Layout) -> float:
    """Of the backward pass of an MLP, less the log-probabilities, which are gone by then; or of
    the loss."""
    value_bytes = 2 if cell.precision == "bf16" else 4
    logits = 4 * VOCABULARY_SIZE / layout.tensor
    return max(value_bytes * 2 * (layout.ffn(cell) + cell.hidden) - logits, 2 * logits)


def _forward_bytes_per_token(cell: Cell, layout: Layout) -> float:
    """Of a forward pass that keeps nothing: an MLP with its input, or logits and their logarithms.

    The MLP has both halves of its first matrix' output, their product, and on CPUs the activation.
    """
    value_bytes = 2 if cell.precision == "bf16" else 4
    wide = (3 if layout.backend == "cuda" else 4) * layout.ffn(cell)
    mlp = value_bytes * (wide + 2 * cell.hidden)
    return max(mlp, 3 * 4 * VOCABULARY_SIZE / layout.tensor)


def _data_bytes(cell: Cell, layout: Layout) -> float:
    """Batches of a step; on CPUs also the held-out rows, with their rotary angles, and rows that
    are read ahead."""
    context = cell.context_length
    step_rows = cell.batch_rows / layout.data
    if layout.backend == "cuda":
        return BATCH_BYTES_PER_TOKEN * step_rows * context
    batch_bytes = cell.batch_rows * context
    ahead = min(64 * batch_bytes, max(batch_bytes, READ_AHEAD_BYTES))
    angles = 2 * 4 * cell.hidden / cell.heads
    return (BATCH_BYTES_PER_TOKEN + angles) * (step_rows + cell.valid_rows) * context + 2 * ahead
