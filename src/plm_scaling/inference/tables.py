"""Columns of vectors and of lists, for tables of residues."""

import numpy as np
import pyarrow as pa

from plm_scaling.inference.arrays import Floats, Ints


def vectors(values: Floats) -> pa.Array:
    """Rows [n, width] as vectors."""
    flat = pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def lists(values: pa.Array, lengths: Ints) -> pa.Array:
    """Values of residues as one list for each sequence."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
