"""`plm-scaling generate`: proteins of a causal model as a FASTA file, and how they were made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plm_scaling import __version__
from plm_scaling.common.errors import InferenceError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.progress import Progress, logger, many
from plm_scaling.inference.generation.beginning import begun
from plm_scaling.inference.generation.options import Sampling, about
from plm_scaling.inference.generation.sampling import Doubles
from plm_scaling.inference.models.describe import describe
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable
from plm_scaling.tokens.format.vocabulary import STANDARD

if TYPE_CHECKING:
    from plm_scaling.inference.models.model import Model


class First(NamedTuple):
    """Frequencies [20] of the residues that proteins begin with, and where they are from."""

    shares: Doubles
    source: list[str]


def generate_fasta(
    model: str, out: Path, sampling: Sampling, first: list[Path], threads: int
) -> dict[str, int]:
    """Write proteins made by `model` to the FASTA file `out`; return what is said of them.

    `first`: FASTA files whose first residues the proteins begin with. See `write_proteins`.
    """
    begun(describe(model)[1], sampling, bool(first))
    begins = First(first_residues(first, out), [*map(str, first)]) if first else None
    from plm_scaling.inference.models.open import open_model  # PyTorch takes seconds

    with open_model(model, threads) as opened:
        return write_proteins(opened, out, sampling, begins)


def write_proteins(
    model: Model, out: Path, sampling: Sampling, first: First | None
) -> dict[str, int]:
    """Write proteins of an opened model to the FASTA file `out`; return what is said of them.

    Records are `>generated-N ended=true` (or `false`: cut at the longest length). OUT.json holds
    the settings, the model's facts and the counts that are returned. The same call gives the same
    file. Raises `InferenceError`.
    """
    from plm_scaling.inference.generation.generator import Generator

    made = ended = residues = 0
    generator = Generator(model, sampling, first.shares if first else None)
    progress = Progress("generate", sampling.number, "proteins")
    together = min(generator.rows, sampling.number)
    logger.info("[generate] %s, %d together", many(sampling.number, "protein"), together)
    with atomic(out) as temporary, temporary.open("wb") as file:
        for batch in generator.batches():
            for protein, done in batch:
                made += 1
                said = b"true" if done else b"false"
                file.write(b">generated-%d ended=%s\n%s\n" % (made, said, protein))
                ended += done
                residues += len(protein)
            progress.add(len(batch))
    counts = {"proteins": made, "ended": ended, "residues": residues}
    settings = asdict(sampling) | {"max_length": generator.max_length}
    facts = {"version": __version__, **model.facts, "first": first.source if first else []}
    write_json(about(out), counts | settings | facts)
    return counts


def first_residues(fasta: list[Path], out: Path) -> Doubles:
    """Frequencies [20] of the amino acids that are the first residue of proteins in FASTA files."""
    found = Survey(out, skip_bad=False)
    with readable(fasta, "fasta") as files:
        letters = [
            b"".join(sequence[:1] for sequence in records.sequences)
            for records in found.of(read_fasta(files))
        ]
    return shares_of(b"".join(letters), f"--first: no protein in {', '.join(map(str, fasta))}")


def shares_of(first_residues: bytes, what: str) -> Doubles:
    """Frequencies [20] of the amino acids among residues. Raises `InferenceError`, which begins
    with `what`, if there is none."""
    each = np.bincount(np.frombuffer(first_residues, np.uint8), minlength=128)
    counts = each[np.frombuffer(STANDARD.encode(), np.uint8)]
    if not counts.any():
        raise InferenceError(f"{what} begins with an amino acid")
    return counts / counts.sum()
