"""Arrays with one entry per sequence, in files: the system pages them, so memory does not grow."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


def new_array(path: Path, length: int, dtype: DTypeLike) -> np.ndarray:
    """A new array in the .npy file `path`, mapped for writing. Its space is allocated
    at once: a full disk is an `OSError` here, and not a crash at some later assignment."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(length,))
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def open_array(path: Path) -> np.ndarray:
    """The array in the .npy file `path`, mapped for reading."""
    return np.load(path, mmap_mode="r")
