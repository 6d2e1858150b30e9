"""Measured values of variants and designs (fluorescence, stability), by ridge regression."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from plm_scaling.common.errors import DownstreamError
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.blosum62 import BLOSUM62
from plm_scaling.downstream.bootstrap import standard_error
from plm_scaling.downstream.fitness.metrics import spearman
from plm_scaling.downstream.probes.features import OneHot
from plm_scaling.downstream.probes.items import Floors, read_items, write_items
from plm_scaling.downstream.probes.sequence_probe import (
    TUNED,
    probe_sequences,
    write_predictions,
)
from plm_scaling.downstream.read import TEST, read_tables
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.tokens.format.vocabulary import STANDARD

LABELS = ("target", "label", "log_fluorescence", "stability_score")
FASTA = (".fasta", ".fa")
ONE_HOT, BLOSUM = "one_hot_ridge", "blosum62_to_wild_type"


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write items.parquet, counts.tsv and task.json of a dataset (see `Task.prepare`).

    The files are tables (`read_tables`) and, if it is known, the wild type as FASTA.
    """
    wild_types = [path for path in files if path.suffix in FASTA]
    tables = [path for path in files if path not in wild_types]
    rows = read_tables(tables, row.split, LABELS)
    rows["label"] = [_number(where, value) for where, value in rows[["where", "label"]].to_numpy()]
    wild_type = _wild_type(wild_types)
    write_items(rows, row, files, lambda items: _floors(items, wild_type), out)


def evaluate(
    model_name: str, items: Path, settings: TaskSettings, out: Path, threads: int, seed: int
) -> list[Score]:
    """Rank correlation of predicted and measured values of the test items (see `Task.evaluate`)."""
    rows, floors, overlap = read_items(items)
    probed = probe_sequences("ridge", model_name, rows, settings, threads, seed)
    write_predictions(probed.table, probed.facts, out)
    measured = probed.table["label"].to_numpy(np.float64)
    if floors[BLOSUM] is not None:
        overlap += f"; BLOSUM62 to the wild type {floors[BLOSUM]:.3f}"

    def score(column: str, protocol: str, layer: int, note: str) -> Score:
        predicted = probed.table[column].to_numpy(np.float64)
        return Score(
            protocol=protocol,
            metric="spearman",
            value=spearman(measured, predicted),
            standard_error=standard_error(
                lambda drawn: spearman(measured[drawn], predicted[drawn]), len(measured), seed
            ),
            n_items=len(measured),
            n_groups=len(measured),
            layer=layer,
            floor=floors[ONE_HOT],
            note=f"{note}; {overlap}",
        )

    scores = [score("predicted", "ridge", probed.layer, f"ridge {probed.strength:g}")]
    if settings.lora is not None:
        scores.append(score(TUNED, "lora", probed.last_layer, "fine-tuned"))
    return scores


def _number(where: str, value: Any) -> float:
    try:
        (number,) = np.ravel(value).astype(np.float64)  # TAPE's are lists of one
    except (TypeError, ValueError) as error:
        raise DownstreamError(f"{where}: the label {value!r} is no number; correct it") from error
    return float(number)


def _wild_type(files: list[Path]) -> str | None:
    for path in files:
        for records in read_fasta(path):
            return records.sequences[0].decode()
    return None


def _floors(rows: pd.DataFrame, wild_type: str | None) -> Floors:
    """Spearman on the test items of ridge regression (strength 1, as FLIP's) of one-hot letters,
    and of the sum of BLOSUM62 to the wild type where each place can be compared."""
    tests = rows["split"].str.startswith(TEST).to_numpy()
    measured = rows["label"].to_numpy(np.float64)
    x = OneHot().means([*rows["sequence"]])
    if not x.size:  # one sequence alone
        return {ONE_HOT: None, BLOSUM: None}
    predicted = Ridge(alpha=1.0).fit(x[~tests], measured[~tests]).predict(x[tests])
    floors: Floors = {ONE_HOT: spearman(measured[tests], predicted), BLOSUM: None}
    sequences = rows["sequence"][tests]
    if wild_type is not None and (sequences.str.len() == len(wild_type)).all():
        floors[BLOSUM] = spearman(measured[tests], _blosum([*sequences], wild_type))
    return floors


def _blosum(sequences: list[str], wild_type: str) -> NDArray[np.float64]:
    """Sums over the places where both have one of the 20 amino acids."""
    code = np.full(256, -1)
    code[list(STANDARD.encode())] = np.arange(len(STANDARD))
    letters = np.frombuffer("".join([*sequences, wild_type]).encode(), np.uint8)
    codes = code[letters.reshape(-1, len(wild_type))]
    known = (codes[:-1] >= 0) & (codes[-1] >= 0)
    return np.where(known, BLOSUM62[codes[:-1], codes[-1]], 0).sum(1).astype(np.float64)
