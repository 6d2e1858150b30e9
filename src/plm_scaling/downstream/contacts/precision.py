"""Precision of the pairs that a model thinks likeliest to be in contact."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.downstream.contacts.structures import CONTACT, UNKNOWN, Map

METRICS = {"p_at_l": 1, "p_at_l2": 2, "p_at_l5": 5}


@dataclass(frozen=True)
class Range:
    """Pairs of residues that are `least` to `most` apart in the sequence (None: any more), and how
    many tokens besides the residues count for L."""

    least: int
    most: int | None = None
    tokens: int = 0


# Those of CASP, and all that the study counts: more than 6 apart, with the end token in L
# (ONERAI/xTrimoPGLM, finetune/lora_contact_prediction.py).
RANGES = {
    "contacts_long": Range(24),  # first, as what models are compared by
    "contacts_medium": Range(12, 23),
    "contacts_short": Range(6, 11),
    "contacts_study": Range(7, tokens=1),
}


@dataclass(frozen=True)
class Precision:
    """Of one protein and range: by metric the share of contacts among the likeliest L, L/2 or L/5
    known pairs, and the share among all known pairs (`base`), which chance gives. None where there
    is no such pair; where all have the same score, only `base` is known."""

    by_metric: dict[str, float | None]
    base: float | None


def precision(scores: NDArray[np.float32], contacts: Map, pairs: Range) -> Precision:
    """Precision of `scores` [residues, residues], the higher the likelier, against the known pairs.

    Where fewer pairs are known than asked for, it is that of all. Equal scores at the border count
    by the share of contacts among them: the order of pairs is worth nothing.
    """
    length = len(contacts)
    row, column = np.triu_indices(length, pairs.least)
    used = contacts[row, column] != UNKNOWN
    if pairs.most is not None:
        used &= column - row <= pairs.most
    values = scores[row, column][used]
    hits = contacts[row, column][used] == CONTACT
    if not len(values) or (values == values[0]).all():
        return Precision(dict.fromkeys(METRICS), float(hits.mean()) if len(hits) else None)
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], hits[order]
    counts = {name: (length + pairs.tokens) // share for name, share in METRICS.items()}
    return Precision(
        {name: _best(values, hits, min(n, len(hits))) for name, n in counts.items()},
        float(hits.mean()),
    )


def _best(values: NDArray[np.float32], hits: NDArray[np.bool_], count: int) -> float | None:
    if count == 0:
        return None
    border = values[count - 1]
    sure = values > border
    tied = values == border
    share = hits[tied].mean()
    return float((hits[sure].sum() + share * (count - sure.sum())) / count)
