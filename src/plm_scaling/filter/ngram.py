"""Residue n-gram model with interpolated absolute discounting, as one dense table.

P_n(x|h) = max(c(hx) − d, 0) / c(h) + d · N(h) / c(h) · P_{n−1}(x|h′), where c counts, N(h) is the
number of different x seen after h, h′ is h without its first symbol, and P_0 is uniform over the
alphabet (Ney, Essen and Kneser 1994). After an unseen h the lower order is used as it is.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plm_scaling.common.errors import FilterError
from plm_scaling.common.files import atomic, sha256_of

ALPHABET = "ACDEFGHIKLMNPQRSTVWYX"  # X stands for B J O U X Z too
BOUNDARY = len(ALPHABET)  # pads the context of a sequence's first residues
SYMBOLS = len(ALPHABET) + 1
DISCOUNT = 0.75
FORMAT = "plm-scaling ngram 1"
MAX_ORDER = 5  # 22⁵ doubles are 41 MB
END = b"\n\0"  # between the sequences of an MMseqs2 database
CHUNK_RESIDUES = 1 << 16  # the arrays of a chunk stay in the cache: twice as fast as 1 MiB

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
    name: str = ""
    chunk_residues: int = CHUNK_RESIDUES

    def save(self, path: Path, source: str) -> None:
        """Write the model, and the source that it was trained on, to an .npz file."""
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                format=FORMAT,
                order=self.order,
                alphabet=ALPHABET,
                discount=self.discount,
                source=source,
                nll=self.nll,
            )

    def nll_of(self, chunk: bytes) -> np.ndarray:
        """−ln P in nats of every byte of the `encode`d chunk, 0 at the ends of sequences."""
        # No index can be out of range; `clip` spares the check and a copy.
        return self.nll.take(windows(encode(chunk, self.order), self.order), mode="clip")

    def nll_per_residue(self, chunk: bytes, lengths: np.ndarray) -> np.ndarray:
        """Mean −ln P in nats of each sequence of a chunk; every residue counts, the end does not.

        `lengths` are the residues of the sequences, at least 1.
        """
        starts = starts_of(lengths, boundaries(self.order))
        return np.add.reduceat(self.nll_of(chunk), starts) / lengths


def load_ngram(path: Path) -> Ngram:
    """Read a saved model; raises `FilterError` naming the file if it is none of this version.

    The name holds order, reference source and checksum.
    """
    again = "train the reference model again (scripts/train_reference.py)"
    try:
        with np.load(path) as saved:
            if str(saved["format"]) != FORMAT or str(saved["alphabet"]) != ALPHABET:
                raise FilterError(f"{path} is a model of another version; {again}")
            order, nll = int(saved["order"]), saved["nll"]
            discount, source = float(saved["discount"]), str(saved["source"])
    except FileNotFoundError as error:
        raise FilterError(f"{path} does not exist; {again}") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FilterError(f"{path} is no n-gram model, or damaged ({error}); {again}") from error
    if not 1 <= order <= MAX_ORDER or nll.shape != (SYMBOLS**order,):
        raise FilterError(f"{path} is damaged: its table does not fit order {order}; {again}")
    return Ngram(order, discount, nll, f"{order}-gram {source} {sha256_of(path)[:12]}")


def boundaries(order: int) -> int:
    """Boundary symbols before each sequence: the two end bytes, or order − 1 if that is more."""
    return max(order - 1, len(END))


def encode(chunk: bytes, order: int) -> np.ndarray:
    """Codes of the residues of a database chunk, each sequence preceded by its `boundaries`.

    The first sequence's are put in front; those of the others are the end of the one before.
    """
    between = boundaries(order)
    if between > len(END):
        chunk = chunk.replace(END, b"\0" * between)
    return np.frombuffer((b"\0" * between + chunk).translate(_CODES), np.uint8)


def windows(codes: np.ndarray, order: int) -> np.ndarray:
    """For every position after the leading boundaries, its n-gram as an index into the table."""
    first = boundaries(order) - (order - 1)
    last = len(codes) - (order - 1)
    kind: type[np.unsignedinteger] = np.uint16 if order <= 3 else np.uint32  # 22³ < 2¹⁶
    index = codes[first:last].astype(kind)
    for place in range(1, order):
        index *= SYMBOLS
        index += codes[first + place : last + place]
    return index


def starts_of(lengths: np.ndarray, between: int) -> np.ndarray:
    """Where each sequence begins when `between` bytes follow every one."""
    return np.cumsum(lengths + between) - (lengths + between)


def count(chunk: bytes, order: int) -> np.ndarray:
    """Counts of the n-grams of a chunk, raveled."""
    return np.bincount(windows(encode(chunk, order), order), minlength=SYMBOLS**order)


def train(counts: np.ndarray, order: int, discount: float = DISCOUNT) -> Ngram:
    """The model that follows from counts of shape (22,) · order, raveled."""
    check_order(order)
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


def check_order(order: int) -> None:
    """Raise `FilterError` for an order whose table would be too large or makes no sense."""
    if not 1 <= order <= MAX_ORDER:
        raise FilterError(f"n-gram order {order} is not supported; use 1 to {MAX_ORDER}")
