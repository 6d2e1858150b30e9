"""From a batch to the loss of each of its tokens: the one way through the model."""

import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from torch import Tensor
from torch.nn.functional import cross_entropy

from plm_scaling.sweep.ladder import VOCABULARY_SIZE
from plm_scaling.train.batches import Batch


def model_output(model: GPTModel, batch: Batch) -> Tensor:
    """What this pipeline stage gives for a batch: logits in the last, else hidden states.

    Hand it to the next stage, or in the last one to `output_losses` or `output_logits`.
    """
    output: Tensor = model(batch.inputs, batch.positions, batch.segments)
    return output


def output_losses(output: Tensor, batch: Batch) -> Tensor:
    """Cross entropy per token in nats, [rows, context_length], from the last stage's output."""
    return token_losses(output, batch.labels)


def output_logits(output: Tensor, batch: Batch) -> Tensor:
    """Logits [rows, context_length, vocabulary] from the last stage's output."""
    return output


def model_losses(model: GPTModel, batch: Batch) -> Tensor:
    """Cross entropy per token in nats, [rows, context_length]; meaningful where `loss_mask` is 1.

    For a model that is not divided into pipeline stages.
    """
    return output_losses(model_output(model, batch), batch)


def model_logits(model: GPTModel, batch: Batch) -> Tensor:
    """Logits [rows, context_length, vocabulary]; see `model_losses`."""
    return output_logits(model_output(model, batch), batch)


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in nats (float32, shape of `labels`) of logits [..., vocabulary].

    Logits of a part of the vocabulary (tensor parallelism) are summed over the ranks that share
    it. That takes three all-reduces, which would be a tenth of a small model's step in one process.
    """
    if logits.shape[-1] < VOCABULARY_SIZE:
        # It overwrites float32 logits, which nothing else reads.
        losses: Tensor = vocab_parallel_cross_entropy(logits.contiguous(), labels)
        return losses
    flat = cross_entropy(
        logits.flatten(0, -2).to(torch.float32), labels.flatten(), reduction="none"
    )
    return flat.view(labels.shape)
