"""The perplexity filter: does it tell real proteins from corrupted ones, and how fast is it?

OMP_NUM_THREADS=1 python benchmarks/filter.py --fasta resources/demo/uniref_demo.fasta.gz \
    resources/demo/metagenome_demo.fasta.gz --mmseqs auto

Prints three Markdown tables. The first has the AUC of n-gram models of orders 1 to 5 against six
kinds of corrupted copies of held-out sequences, held out by cluster at 30 % identity, and at random
to show what relatives in training pretend. The second has the share that the low-complexity rule
drops, of the sequences by length and of generated ones, beside that with distinct 3-mers counted in
whole sequences. The third has residues per CPU-second of one core, and the time over that of
`bytes.translate` on the same bytes in the same run.
"""

import argparse
import gzip
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from plm_scaling.filter import complexity, ngram
from plm_scaling.filter.complexity import distinct_3mer_ratio, unknown_fraction

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))
from model_quality import CORRUPTIONS, auc, clusters_of, corrupted, entries, hold_out
from planted import random_residues

ORDERS = range(1, ngram.MAX_ORDER + 1)
IDENTITY, COVERAGE = 0.3, 0.8
HELD_OUT = 0.2
REPEATS = 5
SEED = 1
MIN_DISTINCT = 0.65  # filter.min_distinct_3mer_ratio
WINDOWS = (complexity.WINDOW, 1 << 30)
LENGTHS = (30, 400, 800, 1600, 3200, 5000, 35_001)
COPIES = 100
UNIT = (1, 50)  # residues, of the generated repeats


def read_fasta(paths: list[Path]) -> list[bytes]:
    """Each different sequence once, in upper case."""
    found: dict[bytes, None] = {}
    for path in paths:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for record in (b"\n" + text).split(b"\n>")[1:]:
            found[b"".join(record.split(b"\n")[1:]).upper()] = None
    return list(found)


def judge(sequences: list[bytes], held_out: np.ndarray) -> list[tuple[str, float, list[float]]]:
    """Per scorer its mean perplexity of real held-out sequences and the AUC of each corruption."""
    training = [s for s, out in zip(sequences, held_out, strict=True) if not out]
    real = [s for s, out in zip(sequences, held_out, strict=True) if out and len(s) >= 30]
    sets = {kind: corrupted(real, kind, SEED) for kind in CORRUPTIONS}
    rows = []
    for order in ORDERS:
        model = ngram.train(ngram.count(entries(training)[0], order), order)
        scores = {
            name: model.nll_per_residue(*entries(texts))
            for name, texts in {"": real, **sets}.items()
        }
        weighted = np.average(scores[""], weights=[len(text) for text in real])
        aucs = [auc(scores[""], scores[kind]) for kind in CORRUPTIONS]
        rows.append((f"{order}-gram", float(np.exp(weighted)), aucs))
    ratios = {
        name: 1 - distinct_3mer_ratio(*entries(texts)) for name, texts in {"": real, **sets}.items()
    }
    aucs = [auc(ratios[""], np.nan_to_num(ratios[kind], nan=1.0)) for kind in CORRUPTIONS]
    rows.append(("1 − distinct 3-mers / 3-mers", float("nan"), aucs))
    return rows


def tandem(rng: np.random.Generator, length: int, replaced: float) -> bytes:
    """A random unit over and over, with a share of its residues `replaced` by random ones."""
    unit = random_residues(rng, int(rng.integers(*UNIT, endpoint=True)))
    noise = random_residues(rng, length)
    return np.where(rng.random(length) < replaced, noise, np.resize(unit, length)).tobytes()


def dropped(sequences: list[bytes], window: int) -> float:
    """Share of the sequences that the rule drops when it counts 3-mers in such windows."""
    with mock.patch.object(complexity, "WINDOW", window):
        return float((distinct_3mer_ratio(*entries(sequences)) < MIN_DISTINCT).mean())


def drops(sequences: list[bytes]) -> Iterator[tuple[str, int, list[float]]]:
    """Sets of sequences, how many there are, and the share dropped with each of `WINDOWS`."""
    rng = np.random.default_rng(SEED)
    sets = {
        f"given, {low:,} to {high - 1:,} residues": [s for s in sequences if low <= len(s) < high]
        for low, high in itertools.pairwise(LENGTHS)
    }
    for n in (100, 1000, 5000, 35_000):
        sets[f"random, {n:,} residues"] = [random_residues(rng, n).tobytes() for _ in range(COPIES)]
    for replaced, n in itertools.product((0, 0.2, 0.3), (1000, 5000)):
        name = f"repeats, {100 * replaced:.0f} % replaced, {n:,} residues"
        arrays = [tandem(rng, n, replaced) for _ in range(COPIES)]
        sets[name] = arrays
        half = [random_residues(rng, n // 2).tobytes() + array[n // 2 :] for array in arrays]
        sets[f"half random, half {name}"] = half
    for name, own in sets.items():
        if own:
            yield name, len(own), [dropped(own, window) for window in WINDOWS]


def chunks_of(sequences: list[bytes], residues: int) -> list[tuple[bytes, np.ndarray]]:
    """Chunks of about so many residues, each with its lengths."""
    lengths = entries(sequences)[1]
    edges = np.flatnonzero(np.diff(np.cumsum(lengths) // residues)) + 1
    pieces = np.split(np.arange(len(sequences)), edges)
    return [entries([sequences[i] for i in own]) for own in pieces]


def cpu_seconds(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU-seconds of each, taken in turns so that a busy machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(REPEATS):
        for name, function in work.items():
            begin = time.process_time()
            function()
            times[name].append(time.process_time() - begin)
    return {name: float(np.median(values)) for name, values in times.items()}


def speeds(sequences: list[bytes]) -> tuple[int, dict[str, float]]:
    """Residues, and the CPU-seconds that each way to look at all of them takes."""
    chunks = chunks_of(sequences, ngram.CHUNK_RESIDUES)
    table = bytes(range(256))
    work: dict[str, Callable[[], object]] = {
        "bytes.translate": lambda: [chunk.translate(table) for chunk, _ in chunks]
    }
    for order in ORDERS:
        model = ngram.train(ngram.count(entries(sequences)[0], order), order)
        work[f"{order}-gram"] = lambda model=model: [  # type: ignore[misc]
            model.nll_per_residue(chunk, lengths) for chunk, lengths in chunks
        ]
    work["distinct 3-mers"] = lambda: [distinct_3mer_ratio(*chunk) for chunk in chunks]
    work["unknown residues"] = lambda: [unknown_fraction(*chunk) for chunk in chunks]
    return sum(map(len, sequences)), cpu_seconds(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fasta", type=Path, nargs="+", required=True)
    parser.add_argument("--mmseqs", required=True, help="path of MMseqs2, or auto")
    arguments = parser.parse_args()
    sequences = read_fasta(arguments.fasta)
    options = ("--min-seq-id", IDENTITY, "-c", COVERAGE)
    with tempfile.TemporaryDirectory() as work:
        clusters = clusters_of(sequences, Path(work), "cluster", *options, mmseqs=arguments.mmseqs)
    print(
        f"{len(sequences):,} sequences, {len(np.unique(clusters)):,} clusters at "
        f"{100 * IDENTITY:.0f} % identity; {100 * HELD_OUT:.0f} % held out\n"
    )
    print("| held out | scorer | perplexity | " + " | ".join(CORRUPTIONS) + " |")
    print("|" + "---|" * (3 + len(CORRUPTIONS)))
    for name, by_cluster in (("by cluster", True), ("at random", False)):
        held_out = hold_out(clusters, HELD_OUT, SEED, by_cluster)
        for scorer, perplexity, aucs in judge(sequences, held_out):
            shown = "" if np.isnan(perplexity) else f"{perplexity:.2f}"
            cells = " | ".join(f"{value:.2f}" for value in aucs)
            print(f"| {name} | {scorer} | {shown} | {cells} |")
    print("\n| sequences | number | dropped | dropped if whole |\n|---|---|---|---|")
    for what, number, (windowed, whole) in drops(sequences):
        print(f"| {what} | {number:,} | {windowed:.2%} | {whole:.2%} |")
    residues, times = speeds(sequences)
    print("\n| | million residues per CPU-s | × bytes.translate |")
    print("|---|---|---|")
    for what, seconds in times.items():
        ratio = seconds / times["bytes.translate"]
        print(f"| {what} | {residues / seconds / 1e6:.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
