"""Residue n-gram model with interpolated absolute discounting, as one dense table.

P_n(x|h) = max(c(hx) − d, 0) / c(h) + d · N(h) / c(h) · P_{n−1}(x|h′), where c counts, N(h) is the
number of different x seen after h, h′ is h without its first symbol, and P_0 is uniform over the
alphabet (Ney, Essen and Kneser 1994). After an unseen h the lower order is used as it is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plm_scaling.errors import FilterError
from plm_scaling.files import atomic

ALPHABET = "ACDEFGHIKLMNPQRSTVWYX"  # X stands for B J O U X Z too
BOUNDARY = len(ALPHABET)  # pads the context of a sequence's first residues
SYMBOLS = len(ALPHABET) + 1
DISCOUNT = 0.75
FORMAT = "plm-scaling ngram 1"
MAX_ORDER = 5  # 22⁵ doubles are 41 MB
END = b"\n\0"  # between the sequences of an MMseqs2 database

_CODES = bytes(
    ALPHABET.index(chr(c))
    if chr(c) in ALPHABET
    else (BOUNDARY if c in END else ALPHABET.index("X"))
    for c in range(256)
)


@dataclass(frozen=True)
class Ngram:
    """`nll[h₁ … hₙ₋₁ x]` is −ln P(x|h), raveled; 0 where x is the boundary, never predicted."""

    order: int
    discount: float
    nll: np.ndarray

    def save(self, path: Path) -> None:
        """Write model and what is needed to use it to an .npz file."""
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                format=FORMAT,
                order=self.order,
                alphabet=ALPHABET,
                discount=self.discount,
                nll=self.nll,
            )

    def nll_of(self, chunk: bytes) -> np.ndarray:
        """−ln P in nats of every byte of `encode`d chunk, 0 at the ends of sequences."""
        return self.nll[windows(encode(chunk, self.order), self.order)]


def load_ngram(path: Path) -> Ngram:
    """Read a saved model; raises `FilterError` if it has another format or alphabet."""
    with np.load(path) as saved:
        if str(saved["format"]) != FORMAT or str(saved["alphabet"]) != ALPHABET:
            raise FilterError(f"{path} is a model of another version; score the sequences again")
        return Ngram(int(saved["order"]), float(saved["discount"]), saved["nll"])


def encode(chunk: bytes, order: int) -> np.ndarray:
    """Codes of the residues of a database chunk, each sequence preceded by order − 1 boundaries.

    The first sequence's boundaries are put in front; those of the others are the end bytes of the
    one before (two bytes, or order − 1 where that is more).
    """
    between = max(order - 1, len(END))
    if between > len(END):
        chunk = chunk.replace(END, b"\0" * between)
    return np.frombuffer((b"\0" * between + chunk).translate(_CODES), np.uint8)


def windows(codes: np.ndarray, order: int) -> np.ndarray:
    """For every position after the leading boundaries, its n-gram as an index into the table."""
    between = max(order - 1, len(END))
    index = codes[between:].astype(np.intp)
    for back in range(1, order):
        index += codes[between - back : len(codes) - back].astype(np.intp) * SYMBOLS**back
    return index


def count(chunk: bytes, order: int) -> np.ndarray:
    """Counts of the n-grams of a chunk, raveled."""
    return np.bincount(windows(encode(chunk, order), order), minlength=SYMBOLS**order)


def train(counts: np.ndarray, order: int, discount: float = DISCOUNT) -> Ngram:
    """The model that follows from counts of shape (22,) · order, raveled."""
    if not 1 <= order <= MAX_ORDER:
        raise FilterError(f"n-gram order {order} is not supported; use 1 to {MAX_ORDER}")
    table = counts.reshape((SYMBOLS,) * order)[..., :BOUNDARY].astype(float)
    if not table.any():
        raise FilterError("the reference split holds no residue to train the n-gram model on")
    tables = [table]
    while tables[-1].ndim > 1:
        tables.append(tables[-1].sum(axis=0))
    probability = np.full(BOUNDARY, 1 / BOUNDARY)
    for counted in reversed(tables):
        total = counted.sum(axis=-1, keepdims=True)
        backoff = discount * (counted > 0).sum(axis=-1, keepdims=True)
        seen = np.maximum(counted - discount, 0) + backoff * probability
        probability = np.where(total > 0, seen / np.maximum(total, 1), probability)
    nll = np.zeros((SYMBOLS,) * order)
    nll[..., :BOUNDARY] = -np.log(probability)
    return Ngram(order, discount, nll.ravel())
