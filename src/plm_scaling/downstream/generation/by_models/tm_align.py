"""TM-scores by TM-align (Zhang and Skolnick 2005) in the package tmtools, which does not come with
this project."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.progress import Progress
from plm_scaling.downstream.contacts.structures import is_structure, read_chains
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins


def tm_scores(proteins: Proteins, places: list[Doubles], known: Path) -> Doubles:
    """Of each protein, with the places [residues, 3] of its Cα atoms in Å, the best TM-score to a
    chain of the structures in the folder `known`, in terms of the protein's length (0 to 1; above
    0.5 folds are as a rule the same)."""
    chains = list(known_chains(known))
    if not chains:
        raise DownstreamError(f"{known}: no protein chain of three residues or more")
    tmtools = import_module("tmtools")
    best = np.zeros(proteins.count())
    progress = Progress("judge: TM-align", proteins.count() * len(chains), "alignments")
    for number, (sequence, own) in enumerate(zip(proteins.sequences, places, strict=True)):
        for letters, other in chains:
            aligned = tmtools.tm_align(own, other, sequence.decode(), letters)
            best[number] = max(best[number], aligned.tm_norm_chain1)
            progress.add(1)
    return best


def known_chains(folder: Path) -> Iterator[tuple[str, Doubles]]:
    """Letters and places [residues, 3] of the Cα atoms of the protein chains in a folder of
    structure files (see `read_chains`), those with at least three. Raises `DownstreamError`."""
    for path in structure_files(folder):
        for chain in read_chains(path):
            has = np.isfinite(chain.alpha[:, 0])
            if has.sum() >= 3:
                letters = "".join(np.array([*chain.sequence])[has])
                yield letters, chain.alpha[has]


def structure_files(folder: Path) -> list[Path]:
    """The structure files in a folder; raises `DownstreamError` if there is none."""
    files = sorted(path for path in folder.glob("*") if is_structure(path))
    if not files:
        raise DownstreamError(f"{folder}: no PDB or mmCIF file; put known structures there")
    return files
