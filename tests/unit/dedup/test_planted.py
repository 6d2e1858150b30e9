"""The planted sets are what they say, and deduplication and split find what was planted."""

import gzip
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import (
    BACKGROUND,
    COPIES,
    COPY,
    FRAGMENT_OF,
    LOW,
    MEMBER,
    SINGLETON,
    Truth,
    pair_scores,
    planted_records,
    record_labels,
    truth_of,
    write_planted,
)
from pools import make_pool

from plm_scaling.config.data import Clusters, Dedup
from plm_scaling.dedup.deduplicate import deduplicate
from plm_scaling.dedup.split import split_clusters
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.pool.read import Pool

pytestmark = pytest.mark.usefixtures("quick_searches")
N = 3000


class Planted:
    """All records of a set: ids, sequences in upper case, sources and the truth."""

    def __init__(self, n: int, **options: float) -> None:
        self.records = planted_records(n, seed=3, **options)
        rows = [(*record, source) for source, own in self.records.items() for record in own]
        self.ids, self.written, self.sources = (list(column) for column in zip(*rows, strict=True))
        self.sequences = [sequence.upper() for sequence in self.written]
        self.truth: Truth = truth_of(self.ids)

    def rows(self, kind: str) -> list[int]:
        return np.flatnonzero(self.truth.kind == kind).tolist()

    def pairs(self, of: str) -> list[tuple[int, int]]:
        """Pairs of members of the same group; `of` is "family" or "subfamily"."""
        groups: dict[int, list[int]] = {}
        for row in self.rows(MEMBER):
            groups.setdefault(int(getattr(self.truth, of)[row]), []).append(row)
        return [pair for rows in groups.values() for pair in combinations(rows, 2)]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted(N)


@pytest.fixture(scope="module")
def without_deletions() -> Planted:
    return Planted(N, deletions=0)


def identity(a: str, b: str) -> float:
    """Of two sequences laid side by side, over the longer."""
    return sum(x == y for x, y in zip(a, b, strict=False)) / max(len(a), len(b))


def test_planted_records_have_the_requested_number_and_unique_ids(planted: Planted) -> None:
    assert len(planted.ids) == len(set(planted.ids)) == N
    shares = {kind: count / N for kind, count in Counter(planted.truth.kind.tolist()).items()}
    assert shares[COPY] == COPIES
    assert 0.6 < shares[MEMBER] < 0.8
    assert all(shares[kind] > 0.004 for kind in (FRAGMENT_OF, SINGLETON, LOW))
    assert 0 < sum(text != text.upper() for text in planted.written) < 0.01 * N
    assert all(len(own) > 0.4 * N for own in planted.records.values())


def test_planted_composition_and_lengths_are_those_of_proteins(planted: Planted) -> None:
    text = "".join(planted.sequences[i] for kind in (MEMBER, SINGLETON) for i in planted.rows(kind))
    counts = Counter(text)
    assert set(counts) == set(BACKGROUND)
    for residue, percent in BACKGROUND.items():
        assert counts[residue] / len(text) * 100 == pytest.approx(percent, rel=0.03)
    lengths = [len(planted.sequences[i]) for i in planted.rows(SINGLETON)]
    assert 240 < np.median(lengths) < 300
    assert min(lengths) >= 30
    assert max(lengths) <= 3000


def test_planted_members_of_a_subfamily_share_93_percent(without_deletions: Planted) -> None:
    planted = without_deletions
    found = [
        identity(planted.sequences[a], planted.sequences[b]) for a, b in planted.pairs("subfamily")
    ]
    assert len(found) > 1000
    assert min(found) >= 0.93
    assert 0.95 < np.median(found) < 0.98


def test_planted_subfamilies_of_a_family_share_53_to_80_percent(without_deletions: Planted) -> None:
    planted = without_deletions
    found = [
        identity(planted.sequences[a], planted.sequences[b])
        for a, b in planted.pairs("family")
        if planted.truth.subfamily[a] != planted.truth.subfamily[b]
    ]
    assert len(found) > 1000
    assert min(found) >= 0.53
    assert np.quantile(found, 0.99) < 0.83
    assert max(found) < 0.9


def test_planted_families_share_nothing(planted: Planted) -> None:
    members = planted.rows(MEMBER)
    rng = np.random.default_rng(0)
    found = [
        identity(planted.sequences[a], planted.sequences[b][: len(planted.sequences[a])])
        for a, b in rng.choice(members, (2000, 2))
        if planted.truth.family[a] != planted.truth.family[b]
        and len(planted.sequences[a]) <= len(planted.sequences[b])
    ]
    assert len(found) > 500
    assert np.mean(found) == pytest.approx(
        sum((p / 100) ** 2 for p in BACKGROUND.values()), rel=0.05
    )


def test_planted_deletions_are_one_run_of_at_most_one_percent(planted: Planted) -> None:
    short = total = 0
    for a, b in planted.pairs("subfamily"):
        long, less = sorted((planted.sequences[a], planted.sequences[b]), key=len, reverse=True)
        missing = len(long) - len(less)
        assert missing <= 0.01 * len(long) + 1
        short += missing > 0
        total += 1
    assert 0.05 < short / total < 0.25


def test_planted_copies_lie_in_another_source(planted: Planted) -> None:
    originals: dict[str, set[tuple[str, int]]] = {}
    for i in planted.rows(MEMBER):
        place = (planted.sources[i], int(planted.truth.subfamily[i]))
        originals.setdefault(planted.sequences[i], set()).add(place)
    for i in planted.rows(COPY):
        places = originals[planted.sequences[i]]
        assert any(
            source != planted.sources[i] and subfamily == planted.truth.subfamily[i]
            for source, subfamily in places
        )


def test_planted_fragments_are_too_short_to_cover_a_member(planted: Planted) -> None:
    members: dict[int, list[str]] = {}
    for i in planted.rows(MEMBER):
        members.setdefault(int(planted.truth.subfamily[i]), []).append(planted.sequences[i])
    fragments = planted.rows(FRAGMENT_OF)
    for i in fragments:
        own = members[int(planted.truth.subfamily[i])]
        assert any(planted.sequences[i] in member for member in own)
        assert 30 <= len(planted.sequences[i]) < 0.7 * min(map(len, own))
    assert len({int(planted.truth.family[i]) for i in fragments}) == len(fragments)
    labels = planted.truth.clusters("family")
    assert all(Counter(labels.tolist())[int(labels[i])] == 1 for i in fragments[:20])


def test_planted_low_complexity_repeats_a_unit(planted: Planted) -> None:
    for i in planted.rows(LOW):
        text = planted.sequences[i]
        assert len({text[j : j + 3] for j in range(len(text) - 2)}) <= 6


def test_planted_files_hold_the_same_records_plain_and_compressed(tmp_path: Path) -> None:
    n = 25_000  # more than a block
    records = planted_records(n, seed=4, sources=("x", "y", "z"))
    for compressed in (False, True):
        paths = write_planted(tmp_path, n, 4, ("x", "y", "z"), gzip=compressed)
        for source, path in paths.items():
            data = path.read_bytes()
            lines = (gzip.decompress(data) if compressed else data).decode().splitlines()
            names = [line.removeprefix(">") for line in lines[::2]]
            assert list(zip(names, lines[1::2], strict=True)) == records[source]
    assert planted_records(100, seed=5) != planted_records(100, seed=6)


def test_planted_truth_of_other_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="not those of planted records"):
        truth_of(["m1.2.3", "P12345"])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_pair_scores_equal_a_count_of_all_pairs(labels: list[tuple[int, int]]) -> None:
    truth, clusters = np.array(labels, np.int64).reshape(-1, 2).T
    true = found = both = 0
    for (t1, c1), (t2, c2) in combinations(labels, 2):
        true, found, both = true + (t1 == t2), found + (c1 == c2), both + (t1 == t2 and c1 == c2)
    precision, recall = pair_scores(truth, clusters)
    assert precision == pytest.approx(both / found if found else 1)
    assert recall == pytest.approx(both / true if true else 1)


@dataclass
class DataPath:
    """A planted set, pooled, deduplicated and split by our programs' functions."""

    pool: Pool
    folder: Path

    def labels(self, step: str, column: str) -> tuple[Truth, np.ndarray]:
        """Truth of each record, and `column` of its sequence in the tables of `step`."""
        ids, labels = record_labels(self.pool, self.folder / step, column)
        return truth_of(ids), labels

    def scores(self, step: str, column: str, level: str) -> tuple[float, float]:
        """Precision and recall; repeats of a short unit may well resemble each other."""
        truth, labels = self.labels(step, column)
        scored = truth.kind != LOW
        return pair_scores(truth.clusters(level)[scored], labels[scored])


RESOURCES = {"resources": Resources(threads=2, memory_mb=2000), "mmseqs": "auto"}


def run_data_path(planted: Planted, folder: Path) -> DataPath:
    records = {
        source: [(name, sequence.upper()) for name, sequence in own]
        for source, own in planted.records.items()
    }
    pool = make_pool(folder, records)
    deduplicate(pool.folder, Dedup(min_seq_id=0.9, coverage=0.8), **RESOURCES, out=folder / "dedup")
    return DataPath(pool, folder)


def split(path: DataPath, clustering: str) -> str:
    """Split with these clusters, unless it was done; the name of the folder."""
    name = f"split_{clustering}"
    if (path.folder / name).exists():
        return name
    split_clusters(
        pool=path.pool.folder,
        dedup=path.folder / "dedup",
        settings=Clusters(
            min_seq_id=0.5,
            coverage=0.8,
            sensitivity=5.7,
            purge="single",
            clustering=clustering,
            valid_fraction=0.2,
            reference_fraction=0.05,
        ),
        reference_source="a",
        seed=1,
        **RESOURCES,
        out=path.folder / name,
    )
    return name


@pytest.fixture(scope="module")
def data_path(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> DataPath:
    return run_data_path(planted, tmp_path_factory.mktemp("planted"))


def test_deduplicate_puts_subfamilies_together(without_deletions: Planted, tmp_path: Path) -> None:
    precision, recall = run_data_path(without_deletions, tmp_path).scores(
        "dedup", "representative", "subfamily"
    )
    assert precision > 0.999
    assert recall > 0.98


def test_deduplicate_finds_members_with_deletions(data_path: DataPath) -> None:
    """linclust drops pairs by the score of one diagonal before it aligns them with gaps."""
    precision, recall = data_path.scores("dedup", "representative", "subfamily")
    assert precision > 0.999
    assert recall > 0.9


def test_split_by_linclust_clusters_most_of_a_family(data_path: DataPath) -> None:
    precision, recall = data_path.scores(split(data_path, "linclust"), "cluster", "family")
    assert precision > 0.999
    assert recall > 0.85


@pytest.mark.long
def test_split_by_cluster_clusters_nearly_all_of_a_family(data_path: DataPath) -> None:
    precision, recall = data_path.scores(split(data_path, "cluster"), "cluster", "family")
    assert precision > 0.999
    assert recall > 0.97


def test_split_leaves_no_member_of_a_family_on_both_sides(data_path: DataPath) -> None:
    """Not even of those that the clusters miss: the search finds them."""
    truth, where = data_path.labels(split(data_path, "linclust"), "split")
    whole = np.isin(truth.kind, (MEMBER, COPY))
    training = set(truth.family[whole & (where == "train")].tolist())
    held_out = truth.family[(where == "valid") & np.isin(truth.kind, (MEMBER, COPY, FRAGMENT_OF))]
    assert len(held_out) > 100
    assert not training & set(held_out.tolist())
