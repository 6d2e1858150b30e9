"""Proteins that a causal model makes, residue after residue."""

from collections.abc import Iterator

import numpy as np

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.generation.beginning import begun
from plm_scaling.inference.generation.decoder import Decoder, open_decoder
from plm_scaling.inference.generation.options import Sampling
from plm_scaling.inference.generation.sampling import Doubles, draw, numbers_of
from plm_scaling.inference.models.model import Model
from plm_scaling.tokens.format.vocabulary import STANDARD

END = len(STANDARD)  # the column after those of the residues
# Sequences that grow together: at most so many, and so many bytes of keys and values.
ROWS = {"cpu": 64, "cuda": 1024}
CACHE_BYTES = {"cpu": 1 << 30, "cuda": 16 << 30}
_LETTERS = np.frombuffer(STANDARD.encode(), np.uint8)


class Generator:
    """Draws proteins from a causal model; only the 20 amino acids and the end are drawn.

    A protein is never empty: its first residue is no end. It depends on the seed and on its number
    alone; other proteins, and how many grow together, change it by rounding only. `first` [20] are
    the frequencies of first residues, for models that have nothing before the first residue.
    """

    def __init__(self, model: Model, sampling: Sampling, first: Doubles | None = None) -> None:
        self.model, self.sampling, self.first = model, sampling, first
        beginning = begun(model, sampling, first is not None)
        self.prompt, self.max_length, self.width = beginning
        alphabet = model.alphabet
        self.ids: Tokens = np.array([*alphabet.residues, alphabet.end], np.uint8)

    @property
    def rows(self) -> int:
        """Proteins that grow together: a number that depends on the model and its device, so that
        rounding is the same each time."""
        model, device = self.model, self.model.device.type
        of_row = 2 * model.layers * model.hidden * self.width * (4 if device == "cpu" else 2)
        return max(1, min(ROWS[device], CACHE_BYTES[device] // of_row))

    def batches(self, rows: int | None = None) -> Iterator[list[tuple[bytes, bool]]]:
        """The proteins in order, and whether each ended or was cut; `rows` grow together."""
        rows = rows or self.rows
        with open_decoder(self.model, self.width) as decoder:
            for begin in range(0, self.sampling.number, rows):
                end = min(begin + rows, self.sampling.number)
                yield list(self._batch(decoder, np.arange(begin, end)))

    def _batch(self, decoder: Decoder, sequences: Ints) -> Iterator[tuple[bytes, bool]]:
        """Proteins of these numbers. Those that ended leave the batch when they are half of it."""
        sampling, count = self.sampling, len(sequences)
        columns = np.full((count, self.max_length), END, np.int64)
        prompt = np.tile(self.prompt, (count, 1))
        made = len(sampling.prompt)
        if self.first is not None:
            known = np.log(self.first, where=self.first > 0, out=np.full(END, -np.inf))
            numbers = numbers_of(sampling.seed, sequences, 0)
            columns[:, 0] = draw(np.tile(known, (count, 1)), numbers, 1.0, 1.0)
            prompt = self.ids[columns[:, :1]]
            made = 1
        logits_of_all = decoder.begin(prompt)
        inside = np.arange(count)  # rows of the decoder
        growing = np.ones(count, np.bool_)
        ended = np.zeros(count, np.bool_)
        while True:
            logits = logits_of_all[:, self.ids.tolist()].double().cpu().numpy()
            if made == 0:
                logits[:, END] = -np.inf
            numbers = numbers_of(sampling.seed, sequences[inside], made)
            drawn = draw(logits, numbers, sampling.temperature, sampling.top_p)
            ended[inside] |= growing[inside] & (drawn == END)
            growing[inside] &= drawn != END
            if made == self.max_length or not growing.any():
                break
            drawn = np.where(growing[inside], drawn, 0)  # what follows an end is not looked at
            columns[inside, made] = np.where(growing[inside], drawn, END)
            made += 1
            if 2 * growing.sum() <= len(inside):
                places = np.flatnonzero(growing[inside])
                decoder.keep(places)
                inside, drawn = inside[places], drawn[places]
            logits_of_all = decoder.next(self.ids[drawn])
        for row, done in zip(columns, ended, strict=True):
            own = row[len(sampling.prompt) :]
            residues = _LETTERS[own[own != END]].tobytes()
            yield sampling.prompt.encode() + residues, bool(done)
