"""Which residues a masked model has to predict, and what it sees in their place.

All of it is a pure function of (seed, index of the row in the run), so that a row has the same
masks however rows are batched, and computed for all rows of a batch at once, since a random
generator for each row would take longer than a small model's step. Start tokens, ends of sequences
and padding are never chosen. Every other token of a row is as likely to be chosen as any other
(`study`) or is chosen with probability `mask_ratio` (the others), wherever it stands.

`study` is what the authors' own code does with the study's settings (docs/training.md), but that
there ends of sequences are chosen, too. `span` is GLM's code run as a masked language model, where
each token of a span becomes `<mask>` (`masked_lm` in GLM's `blocklm_utils.py`).
"""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, factorial, log

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import TrainError
from plm_scaling.common.splitmix import GOLDEN, mix, uniform
from plm_scaling.tokens.format.vocabulary import EOD, MASK, PAD, RESIDUE_ID, SOP, STANDARD

# Keep the streams of one seed apart.
CHOICE, FATE, GAP, LENGTH = range(4)
SPAN_MEAN = 3.0  # of the Poisson distribution
LONGEST_SPAN = 39  # as in GLM; in fact one of 20 is as rare as one in 10^10
APART = 40  # places between sequences: about 15 times as far as one place tells of another
_RESIDUES = np.array([RESIDUE_ID[letter] for letter in STANDARD], np.uint8)

Rows = NDArray[np.uint8]
Masked = tuple[Rows, NDArray[np.bool_]]  # what the model sees, and what it has to predict


def token_masks(rows: Rows, first_row: int, mask_ratio: float, seed: int) -> Masked:
    """Each residue is chosen by itself and replaced by `<mask>`.

    None keeps its residue or gets a random one, which would lower the loss by what the model can
    copy.
    """
    chosen = _uniform(rows.shape, first_row, seed, CHOICE) < mask_ratio
    chosen &= _maskable(rows)
    return np.where(chosen, np.uint8(MASK), rows), chosen


def bert_masks(rows: Rows, first_row: int, mask_ratio: float, seed: int) -> Masked:
    """Each residue is chosen by itself and replaced as by `study_masks`."""
    _, chosen = token_masks(rows, first_row, mask_ratio, seed)
    return _replaced(rows, chosen, first_row, seed), chosen


def study_masks(rows: Rows, first_row: int, mask_ratio: float, seed: int) -> Masked:
    """int(mask_ratio · residues) of each row's residues are chosen, without replacement; `<mask>`
    takes the place of 80 % of them, a random one of the 20 residues of 10 %, and 10 % stay.
    """
    maskable = _maskable(rows)
    draw = np.where(maskable, _uniform(rows.shape, first_row, seed, CHOICE), 1.0)
    number = (mask_ratio * maskable.sum(axis=1, keepdims=True)).astype(np.intp)
    in_order = np.sort(np.pad(draw, ((0, 0), (0, 1)), constant_values=1.0), axis=1)
    chosen = draw < np.take_along_axis(in_order, number, axis=1)
    return _replaced(rows, chosen, first_row, seed), chosen


def _replaced(rows: Rows, chosen: NDArray[np.bool_], first_row: int, seed: int) -> Rows:
    """What the model sees of the rows: Devlin et al. 2019, section 3.1."""
    seen = rows.copy()
    fate = _uniform(rows.shape, first_row, seed, FATE)[chosen]
    residue = np.minimum((fate - 0.8).clip(0) * 10 * len(_RESIDUES), len(_RESIDUES) - 1)
    replaced = np.where(fate < 0.9, _RESIDUES[residue.astype(np.intp)], rows[chosen])
    seen[chosen] = np.where(fate < 0.8, np.uint8(MASK), replaced)
    return seen


def span_masks(rows: Rows, first_row: int, mask_ratio: float, seed: int) -> Masked:
    """Spans of residues are chosen; each residue of a span is replaced by `<mask>`.

    As in GLM, span lengths follow a Poisson distribution of mean 3 without its zero, and spans do
    not touch. GLM samples spans until a sequence has its share; here gaps between spans are 1 plus
    a geometric number with the mean that gives `mask_ratio`, which is met on average. Spans lie
    along an axis on which sequences are so far apart that none touches two; where one sticks out of
    its sequence it is cut. Raises `TrainError` for a ratio that leaves no gap between spans.
    """
    is_end = rows == EOD
    sequence = np.cumsum(is_end, axis=1) - is_end  # number of the sequence within its row
    place = np.arange(rows.shape[1]) + APART * (sequence + 1)
    spanned = _spanned(len(rows), int(place.max()) + 1, first_row, mask_ratio, seed)
    chosen = np.take_along_axis(spanned, place, axis=1) & _maskable(rows)
    return np.where(chosen, np.uint8(MASK), rows), chosen


MASKINGS: dict[str, Callable[[Rows, int, float, int], Masked]] = {
    "study": study_masks,
    "token": token_masks,
    "bert": bert_masks,
    "span": span_masks,
}


def _maskable(rows: Rows) -> NDArray[np.bool_]:
    return (rows != EOD) & (rows != PAD) & (rows != SOP)


def _spanned(
    n_rows: int, width: int, first_row: int, mask_ratio: float, seed: int
) -> NDArray[np.bool_]:
    """[n_rows, width]: which places lie in a span."""
    shorter = _span_lengths()
    mean = float(np.sum(1 - shorter))
    more = mean * (1 - mask_ratio) / mask_ratio - 1  # mean gap beyond the one place
    if more <= 0:
        raise TrainError(
            f"sweep.mask_ratio {mask_ratio} leaves no gap between spans of {mean:.2f} residues; "
            f"lower it to less than {mean / (1 + mean):.2f}, or take another sweep.masking"
        )
    # Twice as many as fill a row on average; what lies beyond it is dropped.
    shape = (n_rows, 16 + 2 * ceil(width / (mean + 1 + more)))
    lengths = np.searchsorted(shorter, _uniform(shape, first_row, seed, LENGTH), side="right")
    draw = 1 - _uniform(shape, first_row, seed, GAP)
    gaps = 1 + (np.log(draw) * (1 / log(more / (1 + more)))).astype(np.int64)
    ends = np.cumsum(gaps + lengths, axis=1)
    edges = np.zeros((n_rows, width + 1), np.int8)
    row = np.arange(n_rows)[:, None]
    edges[row, np.minimum(ends - lengths, width)] = 1  # spans do not touch: no place comes twice
    edges[row, np.minimum(ends, width)] = -1
    return np.cumsum(edges[:, :width], axis=1, dtype=np.int8).view(np.bool_)


@lru_cache(maxsize=1)
def _span_lengths() -> NDArray[np.float64]:
    """P(length ≤ k) for k = 0, 1, …: Poisson without its zero, cut at the longest span."""
    weights = np.array([SPAN_MEAN**k / factorial(k) for k in range(1, LONGEST_SPAN + 1)])
    shorter = np.zeros(LONGEST_SPAN)
    np.cumsum(weights[:-1] / weights.sum(), out=shorter[1:])
    return shorter


def _uniform(shape: tuple[int, int], first_row: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for [rows, columns]: number k of row r is the k-th of a splitmix64
    generator that starts from a hash of (seed, stream, r).
    """
    rows = np.arange(first_row, first_row + shape[0], dtype=np.uint64)[:, None]
    start = mix(_key(seed, stream) + rows * GOLDEN)
    steps = np.arange(1, shape[1] + 1, dtype=np.uint64) * GOLDEN
    return uniform(start + steps)


@lru_cache(maxsize=64)
def _key(seed: int, stream: int) -> np.uint64:
    return np.random.SeedSequence((seed, stream)).generate_state(1, np.uint64)[0]
