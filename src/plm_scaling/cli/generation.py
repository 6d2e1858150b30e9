"""`plm-scaling generate` and `judge`: new proteins, and what they are worth."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.models import CORES, Cell, Threads
from plm_scaling.inference.generation.options import SAMPLE, Sampling


def generate(
    model: Cell,
    /,
    *,
    out: Path,
    sampling: Annotated[Sampling, Parameter(name="*")] = SAMPLE,
    first: list[Path] = [],  # noqa: B006
    threads: Threads = CORES,
) -> None:
    """New proteins, by a causal model.

    Example: plm-scaling generate CELL --number 100 --prompt M --out new.fasta

    Args:
        out: FASTA file; how it was made is beside it, in .json
        first: FASTA whose first residues are drawn from, for models without start token
    """
    from plm_scaling.inference.generation.generate import generate_fasta

    counts = generate_fasta(model, out, sampling, first, threads)
    print(f"proteins: {out} ({counts['ended']} of {counts['proteins']} ended by themselves)")
