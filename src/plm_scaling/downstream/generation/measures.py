"""The measures of a set of proteins: functions of how often each of them counts."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from plm_scaling.downstream.generation.counts import (
    LENGTH_BINS,
    Doubles,
    composition,
    distinct_trimers,
    jensen_shannon,
    length_bins,
    trimers,
)
from plm_scaling.downstream.generation.known.training import Training
from plm_scaling.inference.arrays import Ints

IDENTITIES = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
Value = Callable[[Doubles], float]
"""The value for proteins that count so often each [proteins]; NaN where it is not defined."""


class Measure(NamedTuple):
    """What is measured of a set, in `unit`; None where it cannot be."""

    unit: str
    value: Value | None


@dataclass(frozen=True)
class Facts:
    """What is known of each protein of a set, [proteins] each.

    `copies`: how many of the set are equal to it; `trained`: whether training has it; nats per
    residue by the n-gram model and by another model (None: by none); `identity` and `coverage` of
    the nearest training sequence, and `cluster`, the size of its cluster; mean pLDDT (0 to 100) and
    best TM-score of its predicted structure (None: not predicted, not compared).
    """

    lengths: Ints
    counts: "csr_array[Any, Any]"
    copies: Ints
    trained: NDArray[np.bool_]
    ngram_nats: Doubles
    model_nats: Doubles | None
    identity: Doubles
    coverage: Doubles
    cluster: Ints
    plddt: Doubles | None
    tm_score: Doubles | None


def measures(facts: Facts, training: Training) -> dict[str, Measure]:
    """The measures by name, in the order of the table."""
    hit = facts.identity > 0
    near = {
        f"identity_{low:g}_{high:g}": Measure("share", _mean(hit & _within(facts, low, high)))
        for low, high in pairwise(IDENTITIES)
    }
    plddt, tm_score = facts.plddt, facts.tm_score
    confident = None if plddt is None else np.where(np.isfinite(plddt), plddt > 70, np.nan)
    return {
        "duplicates": Measure("share", _mean(1 - 1 / facts.copies)),
        "duplicates_of_training": Measure("share", _mean(facts.trained)),
        "mean_length": Measure("residues", _mean(facts.lengths)),
        "median_length": Measure("residues", _median(facts.lengths)),
        **_distances(facts, training),
        "distinct_3mers": Measure("share", _mean(distinct_trimers(facts.counts))),
        "ngram_perplexity": Measure("", _perplexity(facts.ngram_nats, facts.lengths)),
        "model_perplexity": Measure("", _perplexity(facts.model_nats, facts.lengths)),
        "no_homologue": Measure("share", _mean(~hit)),
        **near,
        "mean_identity": Measure("share", _mean(np.where(hit, facts.identity, np.nan))),
        "mean_coverage": Measure("share", _mean(np.where(hit, facts.coverage, np.nan))),
        "clusters_per_1000": Measure("clusters", _mean(1000 / facts.cluster)),
        "mean_plddt": Measure("", _mean(plddt)),
        "plddt_above_70": Measure("share", _mean(confident)),
        "mean_tm_score": Measure("", _mean(tm_score)),
    }


def _within(facts: Facts, low: float, high: float) -> NDArray[np.bool_]:
    below = facts.identity <= high if high == IDENTITIES[-1] else facts.identity < high
    inside: NDArray[np.bool_] = (facts.identity >= low) & below
    return inside


def _distances(facts: Facts, training: Training) -> dict[str, Measure]:
    """How far lengths and residues are from those of training."""
    bins = length_bins(facts.lengths)
    lengths = training.lengths / training.lengths.sum()

    def of_lengths(weights: Doubles) -> float:
        own = np.bincount(bins, weights, LENGTH_BINS)
        return jensen_shannon(own / own.sum(), lengths)

    def of(shares: Callable[[Doubles], Doubles]) -> Value:
        expected = shares(training.counts)
        return lambda weights: jensen_shannon(shares(weights @ facts.counts), expected)

    return {
        "lengths_from_training": Measure("bits", of_lengths),
        "composition_from_training": Measure("bits", of(composition)),
        "3mers_from_training": Measure("bits", of(trimers)),
    }


def _mean(values: np.ndarray | None) -> Value | None:
    """The mean of those that are finite."""
    if values is None:
        return None
    known = np.isfinite(values)
    own = values[known].astype(np.float64)
    return lambda weights: _ratio(weights[known] @ own, weights[known].sum())


def _median(values: Ints) -> Value:
    order = np.argsort(values)

    def median(weights: Doubles) -> float:
        upto = np.cumsum(weights[order])
        return float(values[order][np.searchsorted(upto, upto[-1] / 2)])

    return median


def _perplexity(nats: Doubles | None, lengths: Ints) -> Value | None:
    """The exponential of the mean over the residues of all proteins."""
    if nats is None:
        return None
    known = np.isfinite(nats)
    total, residues = (nats * lengths)[known], lengths[known]
    return lambda weights: float(np.exp(_ratio(weights[known] @ total, weights[known] @ residues)))


def bootstrap(measure: Value, proteins: int, resamples: int, seed: int) -> tuple[float, float]:
    """The value, and its standard error over resamples of the proteins; NaN where more than a tenth
    of these have no value, as for what only one or two proteins have, and of a single protein,
    whose resamples are all the same."""
    value = measure(np.ones(proteins))
    if proteins < 2:
        return value, float("nan")
    rng = np.random.default_rng(seed)
    even = np.full(proteins, 1 / proteins)
    drawn = [measure(rng.multinomial(proteins, even) * np.float64(1)) for _ in range(resamples)]
    known = [one for one in drawn if np.isfinite(one)]
    return value, float(np.std(known, ddof=1)) if len(known) >= 0.9 * resamples else float("nan")


def _ratio(total: Any, weight: Any) -> float:
    """Their quotient (numbers of numpy); NaN of nothing."""
    return float(total / weight) if weight else float("nan")
