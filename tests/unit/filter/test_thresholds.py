"""Quantiles per source and length bin from histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.filter.thresholds import (
    MIN_SEQUENCES,
    RESOLUTION,
    SCALE,
    STEPS,
    Histograms,
    LengthBins,
    steps_of,
)

EDGES = [0, 100, 200, 400, 800]


def filled(bins: LengthBins, source: np.ndarray, length: np.ndarray, nll: np.ndarray) -> Histograms:
    histograms = Histograms(["a", "b"], bins)
    histograms.add(source, length, steps_of(nll))
    return histograms


def test_short_sequences_are_not_dropped_for_being_short() -> None:
    """The spread of a mean over n residues falls with √n; each bin still loses the same share."""
    rng = np.random.default_rng(0)
    n = 40_000
    length = rng.integers(30, 1600, n)
    nll = rng.normal(2.9, 0.8 / np.sqrt(length))
    bins = LengthBins(EDGES)
    place = bins.of(length)
    limits = filled(bins, np.zeros(n, int), length, nll).limits(0.02, 0.95)[0]
    steps = steps_of(nll)
    shares = []
    for number, own in enumerate(limits):
        inside = steps[place == number]
        assert np.mean(inside < own.low) == pytest.approx(0.02, abs=1e-3)
        assert np.mean(inside >= own.high) == pytest.approx(0.05, abs=1e-3)
        shares.append(own.high - own.low)
    assert shares == sorted(shares, reverse=True)
    # One pair of thresholds for all lengths is what this avoids.
    low, high = np.quantile(nll, [0.02, 0.95])
    single = [np.mean((nll < low) | (nll > high), where=place == k) for k in range(len(bins))]
    assert single[0] > 2.5 * single[-1]


@given(
    values=st.lists(st.floats(0.0, 9.9), min_size=1, max_size=60),
    low=st.sampled_from([0.0, 0.01, 0.25]),
    high=st.sampled_from([0.5, 0.99, 1.0]),
)
def test_at_most_the_requested_shares_are_dropped_by_the_tightest_thresholds(
    values: list[float], low: float, high: float
) -> None:
    nll = np.array(values)
    n = len(nll)
    zeros = np.zeros(n, int)
    limits = filled(LengthBins([0]), zeros, zeros, nll).limits(low, high)[0][0]
    steps = np.sort(steps_of(nll))
    assert np.sum(steps < limits.low) <= low * n + 1e-9
    assert np.sum(steps >= limits.high) <= (1 - high) * n + 1e-9
    if low:
        assert np.sum(steps <= limits.low) > low * n - 1e-9
    if high < 1:
        assert np.sum(steps >= limits.high - 1) > (1 - high) * n - 1e-9
    assert limits.sequences == n


def test_quantiles_zero_and_one_keep_also_what_did_not_set_the_thresholds() -> None:
    zeros = np.zeros(3, int)
    limits = filled(LengthBins([0]), zeros, zeros, np.array([2.0, 2.5, 3.0])).limits(0, 1)[0][0]
    assert (limits.low, limits.high) == (0, STEPS)


def test_histograms_add_up_over_parts() -> None:
    rng = np.random.default_rng(1)
    source, length = rng.integers(0, 2, 5000), rng.integers(1, 1000, 5000)
    nll = rng.normal(2.9, 0.1, 5000)
    whole = filled(LengthBins(EDGES), source, length, nll)
    parts = Histograms(["a", "b"], LengthBins(EDGES))
    for piece in np.array_split(rng.permutation(5000), 7):
        parts.add(source[piece], length[piece], steps_of(nll[piece]))
    assert np.array_equal(whole.counts, parts.counts)
    assert whole.counts.sum() == 5000


def test_small_bin_is_merged_with_its_neighbours() -> None:
    sizes = [MIN_SEQUENCES, 10, 20, MIN_SEQUENCES - 100, 200]
    length = np.repeat([50, 150, 300, 600, 1000], sizes)
    nll = np.repeat([2.0, 2.2, 2.4, 2.6, 2.8], sizes)
    limits = filled(LengthBins(EDGES), np.zeros(len(length), int), length, nll).limits(0.01, 0.99)
    spans = [(own.first, own.last) for own in limits[0]]
    assert spans == [(0, 0), (0, 2), (0, 4), (2, 4), (3, 4)]
    assert [own.sequences for own in limits[0]] == [
        MIN_SEQUENCES,
        MIN_SEQUENCES + 30,
        sum(sizes),
        MIN_SEQUENCES + 120,
        MIN_SEQUENCES + 100,
    ]


def test_source_with_few_sequences_has_its_own_quantiles_over_all_lengths() -> None:
    length = np.array([50, 150, 300, 1000] * 50)
    nll = np.linspace(2, 3, 200)
    limits = filled(LengthBins(EDGES), np.zeros(200, int), length, nll).limits(0.1, 0.9)
    assert {(own.first, own.last, own.sequences) for own in limits[0]} == {(0, 4, 200)}
    assert limits[0][0].low * RESOLUTION == pytest.approx(np.quantile(nll, 0.1), abs=0.006)
    # Source b has none: all sources together judge it.
    assert limits[1] == limits[0]


def test_length_bins_begin_at_their_edge_and_the_last_is_open() -> None:
    bins = LengthBins(EDGES)
    assert bins.of(np.array([1, 99, 100, 199, 200, 799, 800, 10**6])).tolist() == [
        0, 0, 1, 1, 2, 3, 4, 4,
    ]  # fmt: skip
    assert (bins.bounds(0), bins.bounds(4)) == ((0, 100), (800, None))


def test_scores_beyond_the_scale_count_at_its_ends_and_missing_ones_not_at_all() -> None:
    nll = np.array([-1.0, 0.0, SCALE + 5, np.nan])
    assert steps_of(nll).tolist() == [0, 0, STEPS - 1, -1]
    assert filled(LengthBins([0]), np.zeros(4, int), np.ones(4, int), nll).counts.sum() == 3
