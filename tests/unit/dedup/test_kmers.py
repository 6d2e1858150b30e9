"""Stretches of training in held-out sequences, against a set of Python strings."""

from pathlib import Path

import numpy as np
import pytest
from families import random_protein
from pools import make_pool
from splits import read_pool

from plm_scaling.dedup import kmers
from plm_scaling.dedup.kmers import K, in_training
from plm_scaling.dedup.residues import Residues
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import Selection, keys_of, of_keys


def hostile(rng: np.random.Generator, n: int) -> list[str]:
    """Sequences around and below 30 residues, repeats, and pieces of each other."""
    made = [random_protein(rng, int(length)) for length in rng.integers(1, 120, n)]
    made += [letter * int(rng.integers(20, 90)) for letter in "AQX"]
    for _ in range(2 * n):
        source, other = (made[i] for i in rng.integers(0, len(made), 2))
        first, last = sorted(rng.integers(0, len(source) + 1, 2))
        made.append(other[: int(rng.integers(0, 40))] + source[first:last] + "MJ")
    return sorted(set(made))


def naive(tested: list[str], trained: list[str]) -> list[int]:
    """How many residues of each lie in a stretch that one of `trained` has."""
    known = {text[i : i + K] for text in trained for i in range(len(text) - K + 1)}
    counts = []
    for text in tested:
        begins = [i for i in range(len(text) - K + 1) if text[i : i + K] in known]
        counts.append(len({place for i in begins for place in range(i, i + K)}))
    return counts


def found(pool: Pool, held_out: list[int], training: list[int]) -> list[int]:
    own = Residues.of(of_keys(pool, np.array(held_out, np.int64)))
    chosen = of_keys(pool, np.array(training, np.int64))
    return own.per_sequence(in_training(own.letters(), chosen)).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_exact_stretches_are_those_of_a_set_of_strings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    records = [(str(i), text) for i, text in enumerate(hostile(rng, 60))]
    pool = make_pool(tmp_path, {"one": records}, parts=2)
    texts = [row["sequence"] for row in read_pool(pool)]
    side = rng.integers(0, 3, len(texts))  # held out, trained on, neither
    held_out, training = (np.flatnonzero(side == number).tolist() for number in (0, 1))
    expected = naive([texts[key] for key in held_out], [texts[key] for key in training])
    assert 0 < sum(expected) < sum(len(texts[key]) for key in held_out)
    assert found(pool, held_out, training) == expected
    monkeypatch.setattr(kmers, "_BATCH", 100)  # several passes, several blocks
    monkeypatch.setattr(kmers, "_BLOCK", 7)
    assert found(pool, held_out, training) == expected


def test_nothing_held_out_or_trained_on_shares_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = [(str(i), random_protein(rng, 40)) for i in range(4)]
    pool = make_pool(tmp_path, {"one": [*records, ("short", "MKV")]}, parts=2)
    assert found(pool, [], [0, 1]) == []
    assert found(pool, [0, 1], []) == [0, 0]
    everything = Residues.of(Selection(pool, keys_of))
    covered = in_training(everything.letters(), everything.chosen)
    assert everything.per_sequence(covered).tolist() == [
        length if length >= K else 0 for length in everything.lengths
    ]
