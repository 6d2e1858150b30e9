"""Labels of residues by a model that is fine-tuned to them."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from plm_scaling.config.downstream import Lora
from plm_scaling.downstream.lora.adapters import adapted
from plm_scaling.downstream.lora.sequences import CHUNK_RESIDUES, linear_head
from plm_scaling.downstream.lora.tune import tune
from plm_scaling.inference.arrays import Ints
from plm_scaling.inference.embedder import Embedder
from plm_scaling.inference.fasta import chunked, entries_of
from plm_scaling.inference.models.model import Model

IGNORED = -100  # of PyTorch's cross-entropy


def tuned_residues(
    model: Model, known: pd.DataFrame, tests: list[str], classes: str, lora: Lora, seed: int
) -> list[str]:
    """Predicted classes, a letter for each residue, of the sequences `tests` by the model with
    adapters and a linear layer of the last hidden states, trained on `known` (sequence, label).

    Letters of labels that are none of `classes` are left out. Each protein has the mean
    cross-entropy of its residues.
    """
    sequences = [*known["sequence"]]
    lengths = np.array([len(one) for one in sequences], np.int64)
    place = {letter: number for number, letter in enumerate(classes)}
    labels = [
        torch.tensor([place.get(letter, IGNORED) for letter in label], device=model.device)
        for label in known["label"]
    ]
    embedder = Embedder(model)
    with adapted(model.network, lora, seed) as parameters:
        head = linear_head(model, len(classes))

        def outputs(some: list[str]) -> Tensor:
            found: Tensor = head(embedder.residue_states(*entries_of(some)))
            return found

        def loss_of(items: Ints) -> Tensor:
            found = outputs([sequences[i] for i in items])
            each = torch.split(found, [int(lengths[i]) for i in items])
            losses = [cross_entropy(own, labels[i]) for own, i in zip(each, items, strict=True)]
            return torch.stack(losses).sum()

        tune([*parameters, *head.parameters()], loss_of, lengths, lora, seed)
        predicted = "".join(
            classes[number]
            for some in chunked(tests, CHUNK_RESIDUES)
            for number in outputs(some).argmax(1).tolist()
        )
    ends = np.cumsum([len(one) for one in tests]).tolist()
    begins = [0, *ends]
    return [predicted[begin:end] for begin, end in zip(begins, ends, strict=False)]
