"""Structures by ESMFold (Lin et al. 2023), as transformers has it, from a local folder; it does not
come with this project."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.progress import Progress
from plm_scaling.downstream.generation.by_models.structures import Structure, check_esmfold

CA = 1  # the place of Cα among the atoms of a residue, of 14 or 37


def predicted(
    sequences: Sequence[bytes], folder: Path, threads: int, before: int = 0
) -> Iterator[Structure]:
    """The structure of each sequence in turn, by the model in `folder`; `before` were predicted by
    a process that was stopped. Raises `DownstreamError` as `check_esmfold`, or if the model cannot
    be read."""
    model = _open(folder, threads)
    progress = Progress("judge: structures", before + len(sequences), "proteins", before)
    for sequence in sequences:
        with torch.no_grad():
            output = model.infer(sequence.decode())
        sure = output["plddt"][0, :, CA].double().cpu().numpy()
        places = output["positions"][-1][0, :, CA].double().cpu().numpy()
        yield Structure(float(100 * sure.mean()), places)
        progress.add(1)


def _open(folder: Path, threads: int) -> Any:
    check_esmfold(folder)
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
