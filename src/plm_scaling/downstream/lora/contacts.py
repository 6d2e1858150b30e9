"""Contacts by a model that is fine-tuned to them: adapters, and a small network of pairs."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from plm_scaling.config.downstream import Lora
from plm_scaling.downstream.contacts.structures import CONTACT, UNKNOWN, Map
from plm_scaling.downstream.lora.adapters import adapted
from plm_scaling.downstream.lora.tune import tune
from plm_scaling.inference.arrays import Ints
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.windows import window_rows

WIDTH = 128  # of the layer between, as in the study's scripts


class PairHead(nn.Module):
    """Logits [residues, residues] from states [residues, hidden]: ReLU of a linear layer of both
    residues' states, and a second one. Those of i < j are meant."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(hidden, WIDTH), nn.Linear(hidden, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, 1)

    def forward(self, states: Tensor) -> Tensor:
        between = relu(self.first(states)[:, None] + self.second(states)[None])
        logits: Tensor = self.out(between)[..., 0]
        return logits


def tuned_contacts(
    model: Model,
    train: Sequence[tuple[str, Map]],
    tests: Sequence[str],
    separation: int,
    lora: Lora,
    seed: int,
) -> Iterator[NDArray[np.float32]]:
    """Logits [residues, residues] of each of `tests`, sequences of one window, by the model with
    adapters and a `PairHead` on its last hidden states.

    They are trained on the known pairs at least `separation` apart of the sequences of `train`,
    each protein with the mean cross-entropy of its pairs; one without such pairs teaches nothing.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        head = PairHead(model.hidden).to(model.device)
    lengths = np.array([len(sequence) for sequence, _ in train], np.int64)

    def logits(sequence: str) -> Tensor:
        found: Tensor = head(_states(model, sequence))
        return found

    def loss_of(items: Ints) -> Tensor:
        own = [train[i] for i in items]
        losses = [_loss(logits(sequence), contacts, separation) for sequence, contacts in own]
        return torch.stack(losses).sum()

    with adapted(model.network, lora, seed) as parameters:
        tune([*parameters, *head.parameters()], loss_of, lengths, lora, seed)
        for sequence in tests:
            yield logits(sequence).cpu().numpy()


def _loss(logits: Tensor, contacts: Map, separation: int) -> Tensor:
    row, column = np.triu_indices(len(contacts), separation)
    known = contacts[row, column] != UNKNOWN
    row, column = row[known], column[known]
    if not len(row):
        return 0 * logits.sum()
    wanted = torch.from_numpy((contacts[row, column] == CONTACT).astype(np.float32))
    return binary_cross_entropy_with_logits(
        logits[torch.from_numpy(row), torch.from_numpy(column)], wanted.to(logits.device)
    )


def _states(model: Model, sequence: str) -> Tensor:
    """The last hidden states [residues, hidden] of a sequence that is one window, in float32."""
    pieces = model.windows(np.array([len(sequence)]))
    rows = window_rows(model.tokens(sequence.encode() + b"\n\0"), pieces, np.array([0]))
    begin = int(pieces.before[0])
    states = model.states(rows, pieces.size, model.layers)
    return states[0, begin : begin + len(sequence)].float()
