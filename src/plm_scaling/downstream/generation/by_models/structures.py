"""Predicted structures, kept in files: folding takes hours, and what comes after it may fail."""

import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np

from plm_scaling.common.errors import DownstreamError, InferenceError
from plm_scaling.common.files import atomic, remove, sha256_of
from plm_scaling.common.progress import logger
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins
from plm_scaling.inference.models.folder import check_weights, read_config


class Structure(NamedTuple):
    """A predicted structure: its mean pLDDT (0 to 100), and the places [residues, 3] of its Cα
    atoms in Å."""

    plddt: float
    places: Doubles


def check_esmfold(folder: Path) -> None:
    """Raises `DownstreamError` if there is no ESMFold in the folder, or no transformers; it imports
    no PyTorch."""
    if not folder.is_dir():
        raise DownstreamError(f"{folder} is no folder; put ESMFold there")
    if find_spec("transformers") is None:
        raise DownstreamError("ESMFold needs transformers: install plm-scaling[public-models]")
    try:
        config = read_config(folder)
        check_weights(folder)
    except InferenceError as error:
        raise _no_esmfold(folder, error) from error
    if not config.get("is_folding_model"):
        raise _no_esmfold(folder, "its config.json is of no model that folds")


def _no_esmfold(folder: Path, why: object) -> DownstreamError:
    return DownstreamError(f"{folder}: no ESMFold of transformers with safetensors ({why})")


def kept_structures(
    kept: Path, proteins: Proteins, folder: Path, threads: int
) -> tuple[Doubles, list[Doubles]]:
    """The mean pLDDT of each protein, and the places of its Cα atoms (see `Structure`).

    Out of the file `kept` (.npz) if it is of these proteins and of the weights in `folder`; else
    predicted now and written there. Each protein that is folded is kept until then, in a file of
    its own in a hidden folder beside `kept`, so that whoever was killed folds no protein twice.
    Raises as `predicted` does.
    """
    weights = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    made_of = {path.name: sha256_of(path) for path in weights if path.is_file()}
    whose = json.dumps({"proteins": proteins.fingerprint, "esmfold": made_of})
    parts = kept.with_name(f".{kept.name}.parts")
    saved = _arrays(kept, "whose", "plddt", "places")
    if str(saved.get("whose")) == whose:
        logger.info("[downstream] structures are those of %s", kept)
        remove(parts)  # of whoever was killed just after the file was written
        edges = np.cumsum(proteins.lengths)[:-1]
        return saved["plddt"], np.split(saved["places"], edges)
    found = [*_folded(parts, proteins, folder, json.dumps(made_of), threads)]
    plddt = np.array([one.plddt for one in found])
    places = [one.places for one in found]
    with atomic(kept) as temporary, temporary.open("wb") as out:
        np.savez(out, whose=np.array(whose), plddt=plddt, places=np.concatenate(places))
    remove(parts)
    return plddt, places


def _folded(
    parts: Path, proteins: Proteins, folder: Path, made_of: str, threads: int
) -> Iterator[Structure]:
    """The structure of each protein, out of its file in the folder `parts` if that is of the same
    weights (`made_of`), else predicted and written there."""
    files = {one: parts / f"{hashlib.sha256(one).hexdigest()}.npz" for one in proteins.sequences}
    known = {one: read for one, path in files.items() if (read := _read(path, made_of))}
    lacking = [one for one in files if one not in known]
    if known:
        logger.info(
            "[downstream] %d of %d proteins are folded in %s", len(known), len(files), parts
        )
    if lacking:
        from plm_scaling.downstream.generation.by_models.esmfold import predicted  # PyTorch

        for one, made in zip(lacking, predicted(lacking, folder, threads, len(known)), strict=True):
            with atomic(files[one]) as temporary, temporary.open("wb") as out:
                np.savez(out, made_of=np.array(made_of), **made._asdict())
            known[one] = made
    return (known[one] for one in proteins.sequences)


def _read(path: Path, made_of: str) -> Structure | None:
    """The structure in a file; None if there is none by these weights."""
    saved = _arrays(path, "made_of", "plddt", "places")
    if str(saved.get("made_of")) != made_of:
        return None
    return Structure(float(saved["plddt"]), saved["places"])


def _arrays(path: Path, *names: str) -> dict[str, Any]:
    """Arrays of a file of `numpy.savez`; none if it is not there, or damaged: what was in it is
    predicted."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        try:
            damaged = ZipFile(file).testzip()  # numpy compares no checksum of what it reads in part
            file.seek(0)
            with np.load(file) as saved:
                arrays = {name: saved[name] for name in names}
        except Exception as error:  # which one depends on the byte that is wrong
            damaged = type(error).__name__
    if damaged:
        logger.warning("[downstream] %s is damaged (%s); predicted again", path, damaged)
        return {}
    return arrays
