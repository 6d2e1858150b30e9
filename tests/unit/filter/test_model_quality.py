"""The n-gram model judged on families that it did not see, with the demo's sequences."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from model_quality import CORRUPTIONS, auc, clusters_of, corrupted, entries, hold_out

from plm_scaling.filter import ngram
from plm_scaling.filter.complexity import distinct_3mer_ratio

SEQUENCES = 4000


@pytest.fixture(scope="module")
def demo(root: Path) -> list[bytes]:
    """Different sequences of the demo's larger source."""
    text = gzip.decompress((root / "resources/demo/uniref_demo.fasta.gz").read_bytes())
    records = (b"\n" + text).split(b"\n>")[1:]
    found = dict.fromkeys(b"".join(record.split(b"\n")[1:]).upper() for record in records)
    return [sequence for sequence in found if len(sequence) >= 30][:SEQUENCES]


@pytest.fixture(scope="module")
def clusters(demo: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Their clusters at 50 % identity, in which the demo is split too."""
    work = tmp_path_factory.mktemp("clusters")
    options = ("--min-seq-id", 0.5, "-c", 0.8, "--kmer-per-seq", 80)
    return clusters_of(demo, work, "linclust", *options)


def judged(sequences: list[bytes], held_out: np.ndarray, order: int) -> dict[str, float]:
    """AUC of each corruption, and 'distinct …' for the low-complexity measure."""
    training, _ = entries([s for s, out in zip(sequences, held_out, strict=True) if not out])
    real = [s for s, out in zip(sequences, held_out, strict=True) if out]
    model = ngram.train(ngram.count(training, order), order)
    found = {}
    for kind in CORRUPTIONS:
        fake = corrupted(real, kind, seed=1)
        found[kind] = auc(*(model.nll_per_residue(*entries(s)) for s in (real, fake)))
        ratios = [distinct_3mer_ratio(*entries(s)) for s in (real, fake)]
        found[f"distinct {kind}"] = auc(*(-ratio for ratio in ratios))
    return found


@pytest.mark.slow
def test_model_distinguishes_real_from_corrupted_in_unseen_families(
    demo: list[bytes], clusters: np.ndarray
) -> None:
    unseen = judged(demo, hold_out(clusters, 0.3, 1, by_cluster=True), order=3)
    assert unseen["shuffled"] > 0.65
    assert unseen["frameshift"] > 0.8
    assert unseen["uniform random"] > 0.98
    assert unseen["mutated 30 %"] > 0.53
    # It does not see repeats, and the low-complexity rule sees nothing else.
    for kind in ("repeats", "half repeats"):
        assert unseen[kind] < 0.6
        assert unseen[f"distinct {kind}"] > 0.97
    assert unseen["distinct shuffled"] < 0.55


@pytest.mark.slow
def test_random_split_flatters_higher_orders(demo: list[bytes], clusters: np.ndarray) -> None:
    by_cluster = judged(demo, hold_out(clusters, 0.3, 1, by_cluster=True), order=5)
    at_random = judged(demo, hold_out(clusters, 0.3, 1, by_cluster=False), order=5)
    assert at_random["shuffled"] > by_cluster["shuffled"] + 0.05
    assert at_random["mutated 30 %"] > by_cluster["mutated 30 %"] + 0.05


def test_auc_is_the_probability_that_a_decoy_scores_higher() -> None:
    assert auc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert auc(np.array([3.0, 4.0]), np.array([1.0])) == 0
    assert auc(np.array([1.0, 3.0]), np.array([2.0, 2.0, 2.0])) == 0.5
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_held_out_clusters_are_whole() -> None:
    clusters = np.repeat(np.arange(300), 5) * 7
    held_out = hold_out(clusters, 0.3, 1, by_cluster=True)
    assert all(len(set(part)) == 1 for part in held_out.reshape(300, 5))
    assert held_out.mean() == pytest.approx(0.3, abs=0.1)


def test_frameshift_translates_the_same_bases_in_another_frame() -> None:
    sequence = b"MKVLAWGGHHFFYYPPQQRRSSTTNNDDEECCII" * 3
    (copy,) = corrupted([sequence], "frameshift", seed=1)
    assert 0.7 * len(sequence) < len(copy) < len(sequence)
    assert copy[:10] not in sequence
    assert corrupted([sequence], "frameshift", seed=1) == [copy]
