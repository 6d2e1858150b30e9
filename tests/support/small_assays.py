"""Assays in ProteinGym's form, a few mutants each."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.downstream.table import Dataset
from plm_scaling.downstream.tasks import TASKS
from plm_scaling.tokens.format.vocabulary import STANDARD

WILD_TYPE = "MKVLAAGIVPLLWNDERTYHSCFQK"


def single_mutants(n: int, seed: int, wild_type: str = WILD_TYPE) -> list[str]:
    """Different single mutants of the wild type, none of its first residue."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < n:
        at = int(random.integers(2, len(wild_type) + 1))
        new = str(random.choice(list(STANDARD)))
        if new != wild_type[at - 1]:
            found[f"{wild_type[at - 1]}{at}{new}"] = None
    return [*found]


def assay(mutants: list[str], seed: int = 1) -> pd.DataFrame:
    """Random scores of mutants."""
    scores = np.random.default_rng(seed).normal(size=len(mutants))
    return pd.DataFrame({"mutant": mutants, "DMS_score": scores})


def prepared(
    folder: Path,
    assays: dict[str, pd.DataFrame],
    wild_types: dict[str, str] | None = None,
    form: str = "proteingym_substitutions",
    **columns: object,
) -> Path:
    """Write assays of proteins called as they are, prepare them, and return the new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = pd.DataFrame(
        {
            "DMS_id": list(assays),
            "DMS_filename": [f"{name}.csv" for name in assays],
            "UniProt_ID": list(assays),
            "target_seq": [(wild_types or {}).get(name, WILD_TYPE) for name in assays],
            "coarse_selection_type": "Stability",
        }
        | columns
    )
    reference.to_csv(folder / "assays.csv", index=False)
    with zipfile.ZipFile(folder / "assays.zip", "w") as archive:
        for name, table in assays.items():
            archive.writestr(f"inside/{name}.csv", table.to_csv(index=False))
    out = folder / "prepared"
    out.mkdir()
    row = Dataset("own", "fitness", form, "", "spearman", ())
    TASKS["fitness"].prepare([folder / "assays.csv", folder / "assays.zip"], row, out)
    return out
