"""Predicted structures: how sure their predictor is of them, and how near known ones.

The predictor is ESMFold (Lin et al. 2023) as transformers has it, from a local folder; TM-scores
are those of TM-align (Zhang and Skolnick 2005) in the package tmtools. Neither comes with this
project.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.progress import Progress
from plm_scaling.downstream.contacts.structures import is_structure, read_chains
from plm_scaling.downstream.generation.kinds import Doubles
from plm_scaling.downstream.generation.proteins import Proteins
from plm_scaling.mmseqs.steps import Steps

CA = 1  # the place of Cα among the atoms of a residue, of 14 or 37


def predicted(
    steps: Steps, name: str, proteins: Proteins, esmfold: Path, threads: int
) -> tuple[Doubles, list[Doubles]]:
    """Of each protein the mean pLDDT (0 to 100) over its residues, and the places [residues, 3] of
    its Cα atoms in Å. Raises `DownstreamError` without transformers or ESMFold in the folder."""

    def make(path: Path) -> None:
        model = _open(esmfold, threads)
        plddt, places = [], []
        progress = Progress(f"judge: structures, {name}", proteins.count(), "proteins")
        for sequence in proteins.sequences:
            with torch.no_grad():
                output = model.infer(sequence.decode())
            sure = output["plddt"][0, :, CA].float().cpu().numpy()
            plddt.append(100 * sure.astype(np.float64).mean())
            places.append(output["positions"][-1][0, :, CA].float().cpu().numpy())
            progress.add(1)
        with path.open("wb") as file:
            np.savez(file, plddt=plddt, places=np.concatenate(places))

    with np.load(steps.run(f"structures_{name}.npz", make)) as made:
        edges = np.cumsum(proteins.lengths)[:-1]
        return made["plddt"], np.split(made["places"].astype(np.float64), edges)


def _open(folder: Path, threads: int) -> Any:
    if find_spec("transformers") is None:
        raise DownstreamError("--esmfold needs transformers: install plm-scaling[public-models]")
    transformers = import_module("transformers")
    torch.set_num_threads(threads)
    try:
        model = transformers.EsmForProteinFolding.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise DownstreamError(
            f"--esmfold {folder}: no ESMFold of transformers with safetensors ({error})"
        ) from error
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def tm_scores(proteins: Proteins, places: list[Doubles], known: Path) -> Doubles:
    """Of each protein the best TM-score to a chain of the structures in the folder `known`, in
    terms of the protein's length (0 to 1; above 0.5 folds are as a rule the same)."""
    chains = list(known_chains(known))
    if not chains:
        raise DownstreamError(f"--structures {known}: no protein chain of three residues or more")
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
    files = sorted(path for path in folder.glob("*") if is_structure(path))
    if not files:
        raise DownstreamError(f"--structures {folder}: no PDB or mmCIF file")
    for path in files:
        for chain in read_chains(path):
            has = np.isfinite(chain.alpha[:, 0])
            if has.sum() >= 3:
                letters = "".join(np.array([*chain.sequence])[has])
                yield letters, chain.alpha[has]
