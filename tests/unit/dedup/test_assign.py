"""The draw of clusters, without MMseqs2."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool

from plm_scaling.dedup.assign import OUTCOMES, Drawing, assign, draw, uniform
from plm_scaling.pool.read import Pool

DIGESTS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50, unique=True)


@given(DIGESTS, st.integers(0, 2**31), st.randoms())
def test_uniform_depends_only_on_digest_and_seed(values, seed, random) -> None:
    numbers = dict(zip(values, uniform(np.array(values, np.uint64), seed), strict=True))
    assert all(0 <= number < 1 for number in numbers.values())
    chosen = random.sample(values, random.randint(1, len(values)))
    assert uniform(np.array(chosen, np.uint64), seed).tolist() == [numbers[v] for v in chosen]


@pytest.mark.parametrize("part", [0, 5])
def test_uniform_is_even_and_independent_of_the_seed_before(part: int) -> None:
    """Also for digests that agree in their top bits, as those of one part do."""
    low = np.random.default_rng(0).integers(0, 2**50, 20_000, dtype=np.uint64)
    values = low | np.uint64(part << 58)
    one, two = uniform(values, 1), uniform(values, 2)
    counts, _ = np.histogram(one, 20, (0, 1))
    assert abs(counts - 1000).max() < 150  # five standard deviations
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
    assert abs(np.corrcoef(one, np.argsort(np.argsort(values)))[0, 1]) < 0.03


def test_draw_has_the_requested_fractions(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)
    codes = draw(values, Drawing(0.05, 0.1, "one", [], 3))
    names = np.array(OUTCOMES)[codes]
    assert (names == "valid").mean() == pytest.approx(0.05, abs=0.005)
    assert (names == "reference").mean() == pytest.approx(0.1, abs=0.007)
    assert set(names) == {"train", "valid", "reference"}


def outcomes(
    folder: Path, pool: Pool, clusters: list[list[str]], redundant: dict[str, str], drawing: Drawing
) -> dict[str, str]:
    """Outcomes by id; the first id of a cluster represents it, `redundant` maps to the owner."""
    key = {
        row["id"]: row["key"] + part.first_key
        for part in pool.parts
        for table in part.records(["key", "id"])
        for row in table.to_pylist()
    }
    representative = np.arange(pool.n_sequences, dtype=np.uint32)
    cluster = np.empty(pool.n_sequences, np.uint32)
    for name, head in redundant.items():
        representative[key[name]] = key[head]
    for members in clusters:
        for name in members:
            cluster[key[name]] = key[members[0]]
    np.save(folder / "representative.npy", representative)
    np.save(folder / "cluster.npy", cluster)
    paths = folder / "representative.npy", folder / "cluster.npy"
    assign(pool, *paths, drawing, folder / "outcome.npy")
    codes = np.load(folder / "outcome.npy")
    return {name: OUTCOMES[codes[key[name]]] for name in key}


RECORDS = {
    "old": [("o1", "MKV"), ("o2", "MKVA"), ("o3", "MKVAA")],
    "new": [("n1", "GAG"), ("n2", "GAGA"), ("n3", "MKVAA"), ("n4", "GAGAA"), ("n5", "GGGGG")],
}


def test_ood_has_the_clusters_with_only_new_sources(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, RECORDS, parts=4)
    clusters = [["o1", "n1"], ["o2"], ["n2"], ["o3"], ["n4", "n5"]]
    drawing = Drawing(1e-9, 1e-9, "old", ["new"], 1)
    found = outcomes(tmp_path, pool, clusters, {}, drawing)
    assert {name for name, what in found.items() if what == "ood"} == {"n2", "n4", "n5"}
    # n3 is an exact copy of o3, n1 clusters with o1: the older sources knew them.
    assert found["n3"] == found["n1"] == "train"
    # Also an old record behind a redundant sequence makes the cluster an old one.
    clusters = [["n2", "o1"], ["o2"], ["o3"], ["n1"], ["n4", "n5"]]
    found = outcomes(tmp_path, pool, clusters, {"o1": "n2"}, drawing)
    assert found["n2"] == found["o1"] == "train"


def test_reference_keeps_its_source_and_redundant_sequences_follow(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, RECORDS, parts=2)
    clusters = [["n1", "o1", "o2", "n5"], ["n2", "n4"], ["o3"]]
    drawing = Drawing(1e-9, 1 - 1e-6, "old", [], 1)
    found = outcomes(tmp_path, pool, clusters, {"n5": "o1"}, drawing)
    assert found["o1"] == found["o2"] == found["o3"] == "reference"
    assert found["n5"] == "reference"  # stands behind o1
    assert found["n1"] == "in_reference_cluster"
    assert found["n2"] == found["n4"] == "train"  # no member of the reference source
