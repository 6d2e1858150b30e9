"""The residues of some sequences, and which of them intervals cover."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.pool.selection import Selection, span


class Union:
    """Which of `length` places some intervals cover, however many there are."""

    def __init__(self, length: int) -> None:
        self._change = np.zeros(length + 1, np.int32)

    def add(self, begins: np.ndarray, ends: np.ndarray) -> "Union":
        """Cover the places from each of `begins` to before its end."""
        np.add.at(self._change, begins, 1)
        np.subtract.at(self._change, ends, 1)
        return self

    def covered(self) -> np.ndarray:
        """A truth value for each place."""
        return np.cumsum(self._change[:-1]) > 0


@dataclass(frozen=True)
class Residues:
    """Where the residues of chosen sequences lie: in one array, a zero after each sequence.

    `keys` (ascending, global), `starts` in the array and `lengths` are int64, one per sequence.
    """

    chosen: Selection
    keys: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, chosen: Selection) -> "Residues":
        keys, lengths = [], []
        for part, own in zip(chosen.pool.parts, chosen, strict=True):
            keys.append(own.astype(np.int64))
            lengths.append(part.index()[1][own - span(part).start])
        length = np.concatenate(lengths)
        return cls(chosen, np.concatenate(keys), np.cumsum(length + 1) - length - 1, length)

    @property
    def places(self) -> int:
        """Length of the array."""
        return int(self.lengths.sum()) + len(self.lengths)

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """The place of each key among `keys`."""
        return np.searchsorted(self.keys, keys)

    def per_sequence(self, covered: np.ndarray) -> np.ndarray:
        """How many residues of each sequence are covered."""
        before = np.concatenate([[0], np.cumsum(covered)])
        return before[self.starts + self.lengths] - before[self.starts]

    def letters(self) -> np.ndarray:
        """The array (uint8)."""
        letters = np.zeros(self.places, np.uint8)
        row = 0
        for part, keys in zip(self.chosen.pool.parts, self.chosen, strict=True):
            data, offsets = np.frombuffer(part.data(), np.uint8), part.index()[0]
            for offset in offsets[keys - part.first_key]:
                start, length = self.starts[row], self.lengths[row]
                letters[start : start + length] = data[offset : offset + length]
                row += 1
        return letters
