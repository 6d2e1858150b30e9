"""Hidden states of protein sequences, and the table of those of a FASTA file in its order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from plm_scaling.common.errors import InferenceError
from plm_scaling.common.tables import check_table, table_writer
from plm_scaling.inference.arrays import Count, Floats, Ints
from plm_scaling.inference.fasta import read_chunks, survey
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.models.windows import batches, counted, window_rows
from plm_scaling.inference.tables import lists, vectors
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable

CHUNK_VALUES = 1 << 26  # of the hidden states of a chunk, at most, unless a sequence has more


def embed_fasta(
    name: str,
    fasta: list[Path],
    out: Path,
    layer: int,
    per_residue: bool,
    threads: int,
    skip_bad: bool = False,
) -> Survey:
    """Write the table of embeddings of every protein in the files `fasta` by the model `name`.

    Columns: id, length, and embedding: float32, of the model's width, the mean over the residues,
    or with `per_residue` a list of one for each residue. See `Survey` of records that cannot be
    used.
    """
    check_table(out)
    found = Survey(out, skip_bad)
    with open_model(name, threads) as model, readable(fasta, "fasta") as files:
        embedder = Embedder(model, layer)
        residues = CHUNK_VALUES // model.hidden
        progress = survey("embed", files, found, residues, embedder.work)
        vector = pa.list_(pa.float32(), model.hidden)
        fields = [
            pa.field("id", pa.string()),
            pa.field("length", pa.int64()),
            pa.field("embedding", pa.list_(vector) if per_residue else vector),
        ]
        schema = pa.schema(fields, model.facts | {"layer": str(embedder.layer)})
        with table_writer(out, schema) as write:
            for chunk in read_chunks(read_fasta(files), residues):
                if per_residue:
                    states = embedder.residues(chunk.entries, chunk.lengths, progress.add)
                    embedding = lists(vectors(states), chunk.lengths)
                else:
                    means = embedder.means(chunk.entries, chunk.lengths, progress.add)
                    embedding = vectors(means)
                columns = [pa.array(chunk.ids), pa.array(chunk.lengths), embedding]
                write(pa.record_batch(columns, schema=schema))
    return found


class Embedder:
    """Embeds with a model.

    `layer` counts as `hidden_states` of transformers do: 0 is the embedding of the tokens, k the
    output of layer k, and the last, or −1, is that after the final norm. Sequences longer than the
    context are read in overlapping windows, as for scores. Raises `InferenceError` for a layer that
    the model does not have.
    """

    def __init__(self, model: Model, layer: int = -1) -> None:
        layers = model.layers
        if not -layers - 1 <= layer <= layers:
            raise InferenceError(
                f"--layer {layer}: the model has {layers} layers; give 0 (token embeddings) to "
                f"{layers} (after the final norm), or count from the end with -1 to {-layers - 1}"
            )
        self.model = model
        self.layer = layer % (layers + 1)

    def work(self, lengths: Ints) -> int:
        """Tokens that pass through the model for sequences of these lengths."""
        return int(self.model.windows(lengths).size.sum())

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
