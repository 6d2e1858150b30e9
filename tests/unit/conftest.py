"""A few hundred invented proteins in families, taken once through the whole data path."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from plm_scaling.dedup.contamination import check_contamination
from plm_scaling.dedup.deduplicate import deduplicate
from plm_scaling.dedup.split import split_by_cluster
from plm_scaling.filter.score import score_sequences
from plm_scaling.filter.select import select_sequences

AMINO_ACIDS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
SPLIT = {"min_seq_id": 0.5, "coverage": 0.8, "valid_fraction": 0.2, "reference_fraction": 0.2}


@dataclass(frozen=True)
class Corpus:
    """Folders of one run; `sequences` by id, `family` of each id."""

    folder: Path
    fasta: list[Path]
    sources: list[str]
    sequences: dict[str, bytes]
    family: dict[str, int]


def mutate(rng: np.random.Generator, sequence: np.ndarray, rate: float) -> np.ndarray:
    """Replace a share `rate` of the residues by random ones."""
    chosen = rng.random(len(sequence)) < rate
    return np.where(chosen, rng.choice(AMINO_ACIDS, len(sequence)), sequence)


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two cleaned sources: 60 families of one distant and two near-identical members each."""
    folder = tmp_path_factory.mktemp("families")
    rng = np.random.default_rng(7)
    sequences: dict[str, bytes] = {}
    family: dict[str, int] = {}
    records: dict[str, list[str]] = {"one": [], "two": []}
    for number in range(60):
        ancestor = rng.choice(AMINO_ACIDS, rng.integers(60, 300))
        members = [ancestor, mutate(rng, ancestor, 0.02), mutate(rng, ancestor, 0.3)]
        for name, member in zip("abc", members, strict=True):
            source = "one" if rng.random() < 0.6 else "two"
            key = f"{source}{number}{name}"
            sequences[key], family[key] = member.tobytes(), number
            records[source].append(f">{key}\n{member.tobytes().decode()}\n")
    sequences["onelong"], family["onelong"] = rng.choice(AMINO_ACIDS, 700).tobytes(), 60
    records["one"].append(f">onelong\n{sequences['onelong'].decode()}\n")
    sequences["tworepeat"], family["tworepeat"] = b"PQ" * 60, 61
    records["two"].append(f">tworepeat\n{sequences['tworepeat'].decode()}\n")
    fasta = []
    for source, lines in records.items():
        fasta.append(folder / f"{source}.fasta")
        fasta[-1].write_text("".join(lines))
    return Corpus(folder, fasta, list(records), sequences, family)


@pytest.fixture(scope="session")
def corpus(families: Corpus) -> Corpus:
    """The families after every stage: folders dedup, split, scores and filter."""
    folder = families.folder
    tool = {"threads": 2, "mmseqs": "auto"}
    deduplicate(
        families.fasta, families.sources, 0.9, 0.8, out=folder / "dedup", **tool
    )  # fmt: skip
    split_by_cluster(
        folder / "dedup", **SPLIT, reference_source="one", sensitivity=5.7, seed=1,
        out=folder / "split", **tool,
    )  # fmt: skip
    check_contamination(folder / "split", 0.5, 0.8, 5.7, out=folder / "clean.json", **tool)
    score_sequences(folder / "split", "one", 3, folder / "model.npz", folder / "scores.parquet")
    select_sequences(
        folder / "scores.parquet", folder / "split", 30, 600, 0.05, 0.65, [0.05, 0.95], "auto",
        folder / "filter",
    )  # fmt: skip
    return families
