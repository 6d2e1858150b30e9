"""The low-complexity rule: repeats are dropped at any length, and nothing else at any length."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml
from filtered import distinct_share
from hypothesis import given, settings
from hypothesis import strategies as st
from model_quality import entries
from planted import BACKGROUND

from plm_scaling.config.data import Thresholds
from plm_scaling.filter import complexity
from plm_scaling.filter.complexity import WINDOW, distinct_3mer_ratio, unknown_fraction
from plm_scaling.filter.rules import LOW_COMPLEXITY, REASONS, judge

CONFIG = Path(__file__).parents[3] / "config.yaml"
LETTERS = np.frombuffer("".join(BACKGROUND).encode(), np.uint8)
SHARES = np.array(list(BACKGROUND.values())) / sum(BACKGROUND.values())


@settings(max_examples=50, deadline=None)
@given(
    sequences=st.lists(st.text("ACDX", min_size=1, max_size=40), min_size=1, max_size=600),
    window=st.sampled_from([1, 2, 7, WINDOW]),
)
def test_share_of_distinct_3mers_equals_sets_per_window(sequences: list[str], window: int) -> None:
    with mock.patch.object(complexity, "WINDOW", window):
        ratios = distinct_3mer_ratio(*entries([text.encode() for text in sequences]))
    expected = [distinct_share(text, window) for text in sequences]
    np.testing.assert_array_equal(ratios, expected)


@pytest.mark.parametrize("beyond", range(-1, 4))
def test_share_of_distinct_3mers_at_the_border_of_a_window(beyond: int) -> None:
    text = random_protein(np.random.default_rng(3), 2 * WINDOW + beyond)
    neighbours = [b"MK", text, b"AAAA"]
    expected = [distinct_share(one) for one in neighbours]
    np.testing.assert_array_equal(distinct_3mer_ratio(*entries(neighbours)), expected)


def random_protein(rng: np.random.Generator, length: int) -> bytes:
    return rng.choice(LETTERS, length, p=SHARES).tobytes()


def tandem(rng: np.random.Generator, length: int, period: int, replaced: float) -> bytes:
    """A random unit again and again, a share of its residues `replaced` by random ones."""
    unit = np.frombuffer(random_protein(rng, period), np.uint8)
    noise = np.frombuffer(random_protein(rng, length), np.uint8)
    return np.where(rng.random(length) < replaced, noise, np.resize(unit, length)).tobytes()


def reasons(sequences: list[bytes]) -> list[str]:
    """What the study's rules say of each."""
    values = yaml.safe_load(CONFIG.read_text())["filter"]
    limits = Thresholds(**{name: values[name] for name in Thresholds.model_fields})
    chunk = entries(sequences)
    codes = judge(limits, chunk[1], unknown_fraction(*chunk), distinct_3mer_ratio(*chunk))
    return [REASONS[code] for code in codes]


@pytest.mark.parametrize("length", [100, 300, 1000, 1030, 1500, 5000, 12_000, 35_000])
def test_random_proteins_of_any_length_are_kept(length: int) -> None:
    rng = np.random.default_rng(length)
    sequences = [random_protein(rng, length) for _ in range(max(2, 30_000 // length))]
    assert set(reasons(sequences)) == {"kept"}


@pytest.mark.parametrize("replaced", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("length", [1000, 2000, 5000, 35_000])
def test_tandem_repeats_of_any_length_are_dropped(length: int, replaced: float) -> None:
    rng = np.random.default_rng(length)
    sequences = [tandem(rng, length, period, replaced) for period in (1, 2, 5, 10, 20, 35, 50)]
    assert set(reasons(sequences)) == {LOW_COMPLEXITY}


@pytest.mark.parametrize("length", [300, 1000, 3000, 35_000])
def test_half_repeats_are_dropped_and_a_quarter_is_not(length: int) -> None:
    rng = np.random.default_rng(length)
    for period in (1, 3, 8, 20):
        half, quarter = (
            random_protein(rng, length - length // n) + tandem(rng, length // n, period, 0)
            for n in (2, 4)
        )
        assert reasons([half, half[::-1], quarter]) == [LOW_COMPLEXITY, LOW_COMPLEXITY, "kept"]
