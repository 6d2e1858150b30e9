"""Predicted structures, kept in a file: folding takes hours, and what comes after it may fail."""

import json
from pathlib import Path

import numpy as np

from plm_scaling.common.files import atomic, sha256_of
from plm_scaling.common.progress import logger
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins


def kept_structures(
    kept: Path, proteins: Proteins, folder: Path, threads: int
) -> tuple[Doubles, list[Doubles]]:
    """What `predicted` gives, out of the file `kept` (.npz) if it is of these proteins and of the
    weights in `folder`; else predicted now and written there. Raises as `predicted` does."""
    weights = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    made_of = {path.name: sha256_of(path) for path in weights if path.is_file()}
    whose = json.dumps({"proteins": proteins.fingerprint, "esmfold": made_of})
    if kept.is_file():
        with np.load(kept) as saved:
            if str(saved["whose"]) == whose:
                logger.info("[downstream] structures are those of %s", kept)
                edges = np.cumsum(proteins.lengths)[:-1]
                return saved["plddt"], np.split(saved["places"], edges)
    from plm_scaling.downstream.generation.by_models.esmfold import predicted  # PyTorch

    plddt, places = predicted(proteins, folder, threads)
    with atomic(kept) as temporary, temporary.open("wb") as out:
        np.savez(out, whose=np.array(whose), plddt=plddt, places=np.concatenate(places))
    return plddt, places
