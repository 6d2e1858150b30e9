"""Labels of sequences by a model that is fine-tuned to them."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from plm_scaling.config.downstream import Lora
from plm_scaling.downstream.lora.adapters import adapted
from plm_scaling.downstream.lora.tune import tune
from plm_scaling.inference.arrays import Floats, Ints
from plm_scaling.inference.embedder import Embedder
from plm_scaling.inference.fasta import chunked, entries_of
from plm_scaling.inference.models.model import Model

CHUNK_RESIDUES = 1 << 18


def tuned_labels(
    model: Model, known: pd.DataFrame, tests: list[str], is_class: bool, lora: Lora, seed: int
) -> NDArray[Any]:
    """Predicted labels of the sequences `tests` by the model with adapters and a linear layer from
    the mean of the last hidden states, trained on `known` (sequence, label).

    Classes by cross-entropy; numbers, brought to mean 0 and variance 1, by the squared error.
    """
    sequences = [*known["sequence"]]
    lengths = np.array([len(one) for one in sequences], np.int64)
    labels = known["label"].to_numpy()
    embedder = Embedder(model)
    targets: Tensor
    if is_class:
        classes, places = np.unique(labels.astype(str), return_inverse=True)
        targets = torch.from_numpy(places)
    else:
        numbers = labels.astype(np.float64)
        mean, spread = numbers.mean(), numbers.std()
        targets = torch.from_numpy((numbers - mean) / spread).float()
    targets = targets.to(model.device)
    with adapted(model.network, lora, seed) as parameters:
        head = linear_head(model, len(classes) if is_class else 1)

        def outputs(some: list[str]) -> Tensor:
            found: Tensor = head(embedder.mean_states(*entries_of(some)))
            return found

        def loss_of(items: Ints) -> Tensor:
            found = outputs([sequences[i] for i in items])
            wanted = targets[torch.from_numpy(items).to(model.device)]
            if is_class:
                return cross_entropy(found, wanted, reduction="sum")
            return mse_loss(found[:, 0], wanted, reduction="sum")

        tune([*parameters, *head.parameters()], loss_of, lengths, lora, seed)
        predicted: Floats = np.concatenate(
            [outputs(some).cpu().numpy() for some in chunked(tests, CHUNK_RESIDUES)]
        )
    return classes[predicted.argmax(1)] if is_class else predicted[:, 0] * spread + mean


def linear_head(model: Model, outputs: int) -> nn.Module:
    """A linear layer that begins with 0: as the adapters, it says nothing before it has learnt."""
    head = nn.Linear(model.hidden, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head.to(model.device)
