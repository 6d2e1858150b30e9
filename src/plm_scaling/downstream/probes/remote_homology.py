"""Folds of proteins that have no close homologue in training, by logistic regression."""

from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.bootstrap import mean_error
from plm_scaling.downstream.probes.features import OneHot
from plm_scaling.downstream.probes.items import Floors, read_items, write_items
from plm_scaling.downstream.probes.linear import fit
from plm_scaling.downstream.probes.sequence_probe import (
    TUNED,
    probe_sequences,
    write_predictions,
)
from plm_scaling.downstream.read import TEST, read_tables
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset

LABELS = ("label", "fold_label")
POOLED = "pooled"


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write items.parquet, counts.tsv and task.json of a dataset (see `Task.prepare`).

    Test sets called test_fold, test_superfamily and test_family (as TAPE's files are) are scored
    apart and together; one that is called test, together alone.
    """
    rows = read_tables(files, row.split, LABELS)
    rows["label"] = rows["label"].astype(str).where(rows["label"].notna(), None)
    write_items(rows, row, files, _floors, out)


def evaluate(
    model_name: str, items: Path, settings: TaskSettings, out: Path, threads: int, seed: int
) -> list[Score]:
    """Accuracy on the test sets, apart and pooled (see `Task.evaluate`)."""
    rows, floors, overlap = read_items(items)
    probed = probe_sequences("logistic", model_name, rows, settings, threads, seed)
    write_predictions(probed.table, probed.facts, out)

    def scores(column: str, before: str, layer: int, note: str) -> list[Score]:
        correct = (probed.table["label"] == probed.table[column]).to_numpy(np.float64)
        constant = probed.table[column].nunique() == 1
        return [
            Score(
                protocol=before + name,
                metric="accuracy",
                value=None if constant else float(correct[own].mean()),
                standard_error=None if constant else mean_error(correct[own], seed),
                n_items=int(own.sum()),
                n_groups=int(own.sum()),
                layer=layer,
                floor=floors.get(name),
                note=f"{note}; {overlap}" + "; one class is predicted for all" * constant,
            )
            for name, own in _sets(probed.table["split"]).items()
        ]

    strength = f"logistic regression C {probed.strength:g}"
    found = scores("predicted", "", probed.layer, strength)
    if settings.lora is not None:
        found += scores(TUNED, "lora_", probed.last_layer, "fine-tuned")
    return found


def _sets(splits: pd.Series) -> dict[str, np.ndarray]:
    """Which test items each score is of."""
    sets = {POOLED: splits.str.startswith(TEST).to_numpy()}
    for name in sorted({*splits[sets[POOLED]]} - {TEST}):
        sets[name.removeprefix(f"{TEST}_")] = (splits == name).to_numpy()
    return sets


def _floors(rows: pd.DataFrame) -> Floors:
    """Accuracy of logistic regression (C 1) of the shares of the amino acids."""
    tests = rows["split"].str.startswith(TEST).to_numpy()
    y = rows["label"].to_numpy()
    x = OneHot().means([*rows["sequence"]])
    correct = np.zeros(len(rows))
    correct[tests] = fit("logistic", x[~tests], y[~tests], 1.0).predict(x[tests]) == y[tests]
    return {name: float(correct[own].mean()) for name, own in _sets(rows["split"]).items()}
