"""Types of arrays, and of functions that are told of tokens as they are done."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Tokens = NDArray[np.uint8]
Floats = NDArray[np.float32]
Count = Callable[[float], None]
