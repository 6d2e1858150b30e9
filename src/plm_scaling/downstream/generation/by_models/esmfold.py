"""Structures by ESMFold (Lin et al. 2023), as transformers has it, from a local folder; it does not
come with this project."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.progress import Progress
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins

CA = 1  # the place of Cα among the atoms of a residue, of 14 or 37


def predicted(proteins: Proteins, folder: Path, threads: int) -> tuple[Doubles, list[Doubles]]:
    """Of each protein the mean pLDDT (0 to 100) over its residues, and the places [residues, 3] of
    its Cα atoms in Å. Raises `DownstreamError` without transformers or ESMFold in the folder."""
    model = _open(folder, threads)
    plddt, places = [], []
    progress = Progress("judge: structures", proteins.count(), "proteins")
    for sequence in proteins.sequences:
        with torch.no_grad():
            output = model.infer(sequence.decode())
        sure = output["plddt"][0, :, CA].double().cpu().numpy()
        plddt.append(100 * sure.mean())
        places.append(output["positions"][-1][0, :, CA].double().cpu().numpy())
        progress.add(1)
    return np.array(plddt), places


def _open(folder: Path, threads: int) -> Any:
    if not folder.is_dir():
        raise DownstreamError(f"{folder} is no folder; put ESMFold there")
    if find_spec("transformers") is None:
        raise DownstreamError("ESMFold needs transformers: install plm-scaling[public-models]")
    transformers = import_module("transformers")
    torch.set_num_threads(threads)
    try:
        model = transformers.EsmForProteinFolding.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise DownstreamError(
            f"{folder}: no ESMFold of transformers with safetensors ({error})"
        ) from error
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
