"""How well a reference model distinguishes real proteins from corrupted copies of them.

It is evaluated on families that the model did not see: with relatives of the test sequences in
training, higher orders look better than they are (`benchmarks/filter.py` shows by how much).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from plm_scaling.mmseqs.clusters import read_columns
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.database import END, write_index

STANDARD = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
MUTATED_SHARE = 0.3
REPEAT_UNIT = (2, 8)  # residues, shortest and longest
# The standard genetic code, codons in the order TTT TTC TTA TTG TCT …; * is a stop.
_GENETIC_CODE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
_READ = np.frombuffer(_GENETIC_CODE.encode(), np.uint8)

Corruption = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def entries(sequences: list[bytes]) -> tuple[bytes, np.ndarray]:
    """The data of a database of these sequences, and the residues of each."""
    lengths = np.array([len(sequence) for sequence in sequences])
    return b"".join(sequence + END for sequence in sequences), lengths


def clusters_of(
    sequences: list[bytes], work: Path, command: str, *options: str | float, mmseqs: str = "auto"
) -> np.ndarray:
    """The cluster of each sequence, by `mmseqs linclust` or `cluster`; `work` is a folder."""
    tool = find_mmseqs(mmseqs)
    database, out, table = work / "db", work / "clusters", work / "table"
    chunk, lengths = entries(sequences)
    database.write_bytes(chunk)
    sizes = lengths + len(END)
    write_index(database, [(np.arange(len(sizes)), np.cumsum(sizes) - sizes, sizes)])
    tool.run(command, database, out, work / "tmp", *options, "--threads", 1)
    tool.run("prefixid", out, table, "--tsv", 1, "--threads", 1)
    cluster = np.empty(len(sequences), np.int64)
    for rows in read_columns(table, {"representative": pa.int64(), "member": pa.int64()}):
        cluster[rows["member"].to_numpy()] = rows["representative"].to_numpy()
    return cluster


def shuffled(rng: np.random.Generator, sequence: np.ndarray) -> np.ndarray:
    """The same residues in random order."""
    return rng.permutation(sequence)


def mutated(rng: np.random.Generator, sequence: np.ndarray) -> np.ndarray:
    """A share `MUTATED_SHARE` of the residues replaced by residues of the same sequence."""
    chosen = rng.random(len(sequence)) < MUTATED_SHARE
    return np.where(chosen, rng.choice(sequence, len(sequence)), sequence)


def frameshifted(rng: np.random.Generator, sequence: np.ndarray) -> np.ndarray:
    """What a gene for the sequence (codons drawn evenly) gives when read one base too late."""
    codons = np.zeros(len(sequence), np.int64)  # what is no standard residue becomes TTT
    for residue in np.unique(sequence):
        own = sequence == residue
        choices = np.flatnonzero(residue == _READ)
        if len(choices):
            codons[own] = rng.choice(choices, int(own.sum()))
    bases = np.stack([codons // 16, codons // 4 % 4, codons % 4], axis=1).ravel()
    read = _READ[bases[1:-2].reshape(-1, 3) @ [16, 4, 1]]
    return read[read != ord("*")]


def uniform(rng: np.random.Generator, sequence: np.ndarray) -> np.ndarray:
    """As many residues, all twenty alike."""
    return rng.choice(STANDARD, len(sequence))


def repeats(rng: np.random.Generator, sequence: np.ndarray) -> np.ndarray:
    """A few residues of the sequence over and over."""
    size = int(rng.integers(REPEAT_UNIT[0], REPEAT_UNIT[1] + 1))
    begin = int(rng.integers(0, max(1, len(sequence) - size + 1)))
    return np.resize(sequence[begin : begin + size], len(sequence))


def half_repeats(rng: np.random.Generator, sequence: np.ndarray) -> np.ndarray:
    """The first half as it is, then repeats."""
    half = len(sequence) // 2
    return np.concatenate([sequence[:half], repeats(rng, sequence[half:])])


CORRUPTIONS: dict[str, Corruption] = {
    "shuffled": shuffled,
    "mutated 30 %": mutated,
    "frameshift": frameshifted,
    "uniform random": uniform,
    "repeats": repeats,
    "half repeats": half_repeats,
}


def corrupted(sequences: list[bytes], kind: str, seed: int) -> list[bytes]:
    """A corrupted copy of each sequence; none is empty."""
    rng = np.random.default_rng((seed, list(CORRUPTIONS).index(kind)))
    corrupt = CORRUPTIONS[kind]
    copies = (corrupt(rng, np.frombuffer(s, np.uint8)).tobytes() for s in sequences)
    return [copy or original for copy, original in zip(copies, sequences, strict=True)]


def auc(real: np.ndarray, fake: np.ndarray) -> float:
    """Chance that a fake one has the higher score than a real one; 0.5 is blind."""
    ranks = rankdata(np.concatenate([real, fake]))[len(real) :]
    return float((ranks.mean() - (len(fake) + 1) / 2) / len(real))


def hold_out(clusters: np.ndarray, share: float, seed: int, by_cluster: bool) -> np.ndarray:
    """Which sequences are held out (bool): a share of whole clusters, or of single sequences."""
    rng = np.random.default_rng(seed)
    groups = np.unique(clusters, return_inverse=True)[1] if by_cluster else np.arange(len(clusters))
    drawn = rng.random(int(np.max(groups)) + 1) < share
    return np.asarray(drawn[groups])
