"""Checkpoints of a cell: written whole, checked when read, tied to their cell and data."""

import logging
import re
from pathlib import Path
from typing import Any

import torch

from plm_scaling.errors import TrainError
from plm_scaling.files import atomic, sha256_of

logger = logging.getLogger("plm_scaling")

KEPT = 2  # the newest, and the one before it in case the newest is damaged


def save_checkpoint(folder: Path, step: int, identity: dict[str, str], state: Any) -> None:
    """Write `state` as step-{step}.pt with its SHA-256 beside it; keep the last two."""
    path = folder / f"step-{step:09d}.pt"
    with atomic(path) as temporary:
        torch.save({"identity": identity, "step": step, "state": state}, temporary)
        checksum = sha256_of(temporary)
    with atomic(path.with_suffix(".sha256")) as temporary:
        temporary.write_text(checksum + "\n")
    for old in _newest_first(folder)[KEPT:]:
        old.with_suffix(".sha256").unlink(missing_ok=True)
        old.unlink()


def load_checkpoint(folder: Path, identity: dict[str, str]) -> tuple[int, Any] | None:
    """The newest intact checkpoint as (step, state), or None where there is none.

    A damaged one is moved aside and the one before it is taken. One of another cell is a
    `TrainError`; one of the same cell with other data or another `STAGE_VERSION` is superseded:
    the whole folder is moved aside and training starts anew.
    """
    for path in _newest_first(folder):
        record = path.with_suffix(".sha256")
        if not record.exists() or record.read_text().strip() != sha256_of(path):
            logger.warning("%s is damaged; moved aside, going on with the one before it", path)
            path.rename(path.with_suffix(".damaged"))
            continue
        content = torch.load(path, weights_only=True)
        found = content["identity"]
        if found["cell"] != identity["cell"]:
            raise TrainError(
                f"{path}: this checkpoint is of cell {found['cell']}, not of {identity['cell']}; "
                "move it back where it belongs or delete the folder to train from the start"
            )
        if found != identity:
            taken = len(list(folder.parent.glob(f"{folder.name}-superseded-*")))
            aside = folder.with_name(f"{folder.name}-superseded-{taken + 1}")
            logger.warning("%s: trained on other data; moved to %s, starting anew", folder, aside)
            folder.rename(aside)
            return None
        return content["step"], content["state"]
    return None


def _newest_first(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("step-*.pt") if re.fullmatch(r"step-\d{9}\.pt", p.name)]
    return sorted(found, reverse=True)
