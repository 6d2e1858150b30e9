"""From a batch to the loss of each of its tokens: the one way through the model."""

import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from torch import Tensor
from torch.nn.functional import cross_entropy

from plm_scaling.study.shapes import VOCABULARY_SIZE
from plm_scaling.train.data.batches import Batch


def model_losses(model: GPTModel, batch: Batch) -> Tensor:
    """Cross entropy per token in nats, [rows, context_length]; meaningful where `loss_mask` is 1.

    For a model that is not divided into pipeline stages.
    """
    return output_losses(model_output(model, batch), batch)


def model_logits(model: GPTModel, batch: Batch) -> Tensor:
    """Logits [rows, context_length, vocabulary]; see `model_losses`."""
    return batch.segments.unpack(model_output(model, batch)[:, 0], batch.rows)


def model_output(model: GPTModel, batch: Batch) -> Tensor:
    """What this pipeline stage gives for a batch, as one list of tokens (see `Segments`).

    Logits [tokens, 1, vocabulary] in the last stage, to be handed to `output_losses`; else hidden
    states [tokens, 1, hidden], for the next one.
    """
    output: Tensor = model(batch.segments.pack(batch.inputs), batch.segments)
    return output


def output_losses(output: Tensor, batch: Batch) -> Tensor:
    """Cross entropy per token in nats, [rows, context_length], of the last stage's output."""
    losses = token_losses(output[:, 0], batch.segments.pack(batch.labels))
    return batch.segments.unpack(losses, batch.rows)


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy [tokens] in nats, float32, of logits [tokens, vocabulary or a part of it].

    With a vocabulary this small, PyTorch's own function on float32 logits costs little
    compared with the layers, on CUDA too; megatron-core's fused one rounds gradients to bfloat16. A
    part of the vocabulary (tensor parallelism) is summed with those of the other processes: three
    all-reduces, which would be a tenth of a small model's step if one process did them.
    """
    if logits.shape[-1] < VOCABULARY_SIZE:
        losses: Tensor = vocab_parallel_cross_entropy(logits[None], labels[None])[0]
        return losses
    return cross_entropy(logits.to(torch.float32), labels, reduction="none")
