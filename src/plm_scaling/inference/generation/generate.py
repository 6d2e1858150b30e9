"""`plm-scaling generate`: proteins of a causal model as a FASTA file, and how they were made."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from plm_scaling import __version__
from plm_scaling.common.errors import InferenceError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.progress import Progress, logger
from plm_scaling.inference.generation.generator import Generator
from plm_scaling.inference.generation.options import Sampling, about
from plm_scaling.inference.generation.sampling import Doubles
from plm_scaling.inference.models.open import open_model
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable
from plm_scaling.tokens.format.vocabulary import STANDARD


def generate_fasta(
    model: str, out: Path, sampling: Sampling, first: list[Path], threads: int
) -> dict[str, int]:
    """Write proteins made by `model` to the FASTA file `out`; return what is said of them.

    Records are `>generated-N ended=true` (or `false`: cut at the longest length). OUT.json holds
    the settings, the model's facts and the counts that are returned. `first`: FASTA files whose
    first residues the proteins begin with. The same call gives the same file. Raises
    `InferenceError`.
    """
    made = ended = residues = 0
    with open_model(model, threads) as opened:
        generator = Generator(opened, sampling, first_residues(first, out) if first else None)
        progress = Progress("generate", sampling.number, "proteins")
        logger.info("[generate] %d proteins, %d together", sampling.number, generator.rows)
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
        facts = {"version": __version__, **opened.facts, "first": [str(path) for path in first]}
    write_json(about(out), counts | settings | facts)
    return counts


def first_residues(fasta: list[Path], out: Path) -> Doubles:
    """Frequencies [20] of the amino acids that are the first residue of proteins in FASTA files.

    Raises `InferenceError` if none begins with one of the 20.
    """
    counts = np.zeros(len(STANDARD))
    found = Survey(out, skip_bad=False)
    with readable(fasta, "fasta") as files:
        for records in found.of(read_fasta(files)):
            letters = np.frombuffer(b"".join(s[:1] for s in records.sequences), np.uint8)
            each = np.bincount(letters, minlength=128)
            counts += each[np.frombuffer(STANDARD.encode(), np.uint8)]
    if not counts.any():
        raise InferenceError(
            f"--first: no protein in {', '.join(map(str, fasta))} begins with an amino acid"
        )
    return counts / counts.sum()
