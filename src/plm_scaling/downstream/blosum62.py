"""BLOSUM62 (Henikoff and Henikoff 1992): how alike two amino acids are, in half bits."""

import numpy as np
from numpy.typing import NDArray

from plm_scaling.tokens.format.vocabulary import STANDARD

_ORDER = "ARNDCQEGHILKMFPSTWYV"
_LOWER = """
 4
-1  5
-2  0  6
-2 -2  1  6
 0 -3 -3 -3  9
-1  1  0  0 -3  5
-1  0  0  2 -4  2  5
 0 -2  0 -1 -3 -2 -2  6
-2  0  1 -1 -3  0  0 -2  8
-1 -3 -3 -3 -1 -3 -3 -4 -3  4
-1 -2 -3 -4 -1 -2 -3 -4 -3  2  4
-1  2  0 -1 -3  1  1 -2 -1 -3 -2  5
-1 -1 -2 -3 -1  0 -2 -3 -2  1  2 -1  5
-2 -3 -3 -3 -2 -3 -3 -3 -1  0  0 -3  0  6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4  7
 1 -1  1  0 -1  0  0  0 -1 -2 -2  0 -1 -2 -1  4
 0 -1  0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1  1  5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1  1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3  2 -1 -1 -2 -1  3 -3 -2 -2  2  7
 0 -3 -3 -3 -1 -2 -2 -3 -3  3  1 -2  1 -1 -2 -2  0 -3 -1  4
"""


def _matrix() -> NDArray[np.int64]:
    rows = [[int(value) for value in line.split()] for line in _LOWER.strip().splitlines()]
    matrix = np.zeros((len(_ORDER), len(_ORDER)), np.int64)
    for i, row in enumerate(rows):
        matrix[i, : i + 1] = matrix[: i + 1, i] = row
    place = [_ORDER.index(letter) for letter in STANDARD]
    return matrix[np.ix_(place, place)]


BLOSUM62 = _matrix()
"""[20, 20], in the order of `STANDARD`."""
