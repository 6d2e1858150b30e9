"""Hidden states of protein sequences."""

from collections.abc import Iterator

import numpy as np
import torch

from plm_scaling.inference.arrays import Count, Floats, Ints
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.windows import batches, counted, window_rows


class Embedder:
    """Embeds with a model.

    `layer` counts as `hidden_states` of transformers do: 0 is the embedding of the tokens, k the
    output of layer k, and the last, or −1, is that after the final norm. Sequences longer than the
    context are read in overlapping windows, as for scores. Raises `InferenceError` for a layer that
    the model does not have.
    """

    def __init__(self, model: Model, layer: int = -1) -> None:
        self.model = model
        self.layer = model.layer_number(layer)

    def work(self, lengths: Ints) -> Ints:
        """Tokens that pass through the model for each sequence of these lengths."""
        pieces = self.model.windows(lengths)
        return pieces.of_sequences(pieces.size)

    def residues(self, chunk: bytes, lengths: Ints, count: Count) -> Floats:
        """States [residues, width] of the residues of a chunk of database entries, in order."""
        states = np.empty((int(lengths.sum()), self.model.hidden), np.float32)
        for place, found in self._states(chunk, lengths, count):
            states[place] = found.cpu().numpy()
        return states

    def means(self, chunk: bytes, lengths: Ints, count: Count) -> Floats:
        """Means [sequences, width] over each sequence's residues."""
        return np.asarray(self.mean_states(chunk, lengths, count).cpu())

    def mean_states(
        self, chunk: bytes, lengths: Ints, count: Count = lambda tokens: None
    ) -> torch.Tensor:
        """The same on the model's device, with gradients where they are enabled."""
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        sums = torch.zeros(len(lengths), self.model.hidden, device=self.model.device)
        for place, found in self._states(chunk, lengths, count):
            sums.index_add_(0, torch.from_numpy(sequence[place]).to(sums.device), found)
        return sums / torch.from_numpy(lengths)[:, None].to(sums)

    def residue_states(self, chunk: bytes, lengths: Ints) -> torch.Tensor:
        """As `residues`, on the model's device, with gradients where they are enabled."""
        states = torch.zeros(int(lengths.sum()), self.model.hidden, device=self.model.device)
        for place, found in self._states(chunk, lengths, lambda tokens: None):
            states[torch.from_numpy(place).to(states.device)] = found
        return states

    def _states(
        self, chunk: bytes, lengths: Ints, count: Count
    ) -> Iterator[tuple[Ints, torch.Tensor]]:
        """Places among all residues, and their states (fp32), batch by batch."""
        tokens, pieces = self.model.tokens(chunk), self.model.windows(lengths)
        for some in batches(pieces.size, self.model.device.type):
            rows = window_rows(tokens, pieces, some)
            states = self.model.states(rows, pieces.size[some], self.layer)
            row, column = np.nonzero(counted(pieces, some, rows.shape[1]))
            found = states[torch.from_numpy(row), torch.from_numpy(column)].float()
            yield pieces.place[some][row] + column, found
            count(float(pieces.size[some].sum()))
