"""Draw the next residue, or the end, of many proteins at once."""

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.splitmix import GOLDEN, mix, uniform
from plm_scaling.inference.arrays import Ints

Doubles = NDArray[np.float64]


def draw(logits: Doubles, numbers: Doubles, temperature: float, top_p: float) -> Ints:
    """One column of each row of `logits` [rows, columns], by `numbers` [rows] in [0, 1).

    From softmax(logits / temperature), of which only the likeliest columns whose probabilities
    sum up to `top_p` are kept (nucleus sampling, Holtzman et al. 2020). At temperature 0 it is the
    likeliest. A column with the logit −∞ is never drawn.
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    above = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    probability = above / above.sum(axis=1, keepdims=True)
    order = np.argsort(-probability, axis=1, kind="stable")
    falling = np.take_along_axis(probability, order, axis=1)
    more_likely = np.cumsum(falling, axis=1) - falling
    kept = np.zeros(probability.shape, np.bool_)
    np.put_along_axis(kept, order, (more_likely < top_p) & (falling > 0), axis=1)
    # In the order of columns, so that a change of rounding moves no border but its own.
    upto = np.cumsum(np.where(kept, probability, 0.0), axis=1)
    chosen = (upto <= numbers[:, None] * upto[:, -1:]).sum(axis=1)
    last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
    return np.minimum(chosen, last)


def numbers_of(seed: int, sequences: Ints, step: int) -> Doubles:
    """The numbers in [0, 1) that decide draw `step` of these sequences, counted from 0: a hash of
    all three, so that neither the batch nor a restart changes them."""
    of_seed = mix(np.array([seed], np.uint64) + GOLDEN)
    of_sequence = mix(of_seed + (sequences.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    return uniform(of_sequence + np.array([step], np.uint64) * GOLDEN)
