"""What other models say of each protein of a set, measured now or read from a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic, sha256_of
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins

STRUCTURES = ("mean_plddt", "plddt_above_70")
PERPLEXITY, TM_SCORE = "model_perplexity", "mean_tm_score"
_ESMFOLD = "give a folder with ESMFold: --esmfold, or in a config downstream.generation.esmfold"
NOT_GIVEN = {
    PERPLEXITY: "give another model: --model, or in a config downstream.generation.perplexity_by",
    **dict.fromkeys((*STRUCTURES, TM_SCORE), _ESMFOLD),
}
"""Of each measure of other models why it has no value where none is given."""
_ARRAYS = ("nats", "plddt", "tm_score")


@dataclass(frozen=True)
class Measured:
    """Of each protein [proteins]: nats per residue by another model, the mean pLDDT (0 to 100) of
    its predicted structure, and the best TM-score of that to a known one; None where not measured.

    `missing` says of measures of the table why not, `facts` by what they were made.
    """

    nats: Doubles | None = None
    plddt: Doubles | None = None
    tm_score: Doubles | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path, proteins: Proteins) -> None:
        """Write the file (.npz), which knows whose it is."""
        about = {
            "proteins": proteins.fingerprint,
            "missing": {**self.missing},
            "facts": {**self.facts},
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        there = {name: array for name, array in arrays.items() if array is not None}
        with atomic(path) as temporary, temporary.open("wb") as out:
            np.savez(out, about=np.array(json.dumps(about)), **there)

    @classmethod
    def load(cls, path: Path, proteins: Proteins) -> Self:
        """What `save` wrote; raises `DownstreamError` if it is of other proteins."""
        with np.load(path) as saved:
            about = json.loads(str(saved["about"]))
            arrays = {name: saved[name] for name in _ARRAYS if name in saved}
        if about["proteins"] != proteins.fingerprint:
            raise DownstreamError(f"{path}: measured of other proteins; remove it and run again")
        return cls(**arrays, missing=about["missing"], facts=about["facts"])


class ByModels(Protocol):
    """Where `Measured` come from."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What says that it is the same as at an earlier attempt."""

    def measured(self, proteins: Proteins, name: str, kept: Path) -> Measured:
        """Of the proteins of the set `name` (generated, natural or shuffled); what takes hours is
        kept in the file `kept` (.npz) for another attempt."""


@dataclass(frozen=True)
class Saved:
    """Files of `Measured` by set, made before; without one nothing was measured."""

    files: Mapping[str, Path]

    @property
    def facts(self) -> Mapping[str, str]:
        """The checksums of the files."""
        return {name: sha256_of(path) for name, path in self.files.items()}

    def measured(self, proteins: Proteins, name: str, kept: Path) -> Measured:
        """As the file of the set says."""
        if name not in self.files:
            return Measured(missing=NOT_GIVEN)
        return Measured.load(self.files[name], proteins)
