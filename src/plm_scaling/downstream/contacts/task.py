"""Contacts from attention maps: how well what a model attends to says which residues touch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.progress import Progress
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.bootstrap import mean_error
from plm_scaling.downstream.contacts.attention import Features, attention_features
from plm_scaling.downstream.contacts.items import contacts_of, write_items
from plm_scaling.downstream.contacts.precision import METRICS, RANGES, precision
from plm_scaling.downstream.contacts.regression import fit_contacts
from plm_scaling.downstream.contacts.structures import Map
from plm_scaling.downstream.read import TEST, TRAIN
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.open import open_model

BASE = "base"
Item = dict[str, Any]


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write items.parquet, counts.tsv and task.json of a dataset (see `Task.prepare`).

    The files are structures (mmCIF, PDB, archives of them), or tables of sequences and contacts.
    """
    counts = write_items(files, row.split, row.dataset, out / "items.parquet")
    counts.write(out / "counts.tsv")
    write_json(out / "task.json", {"task": row.task, "dataset": row.dataset})


def evaluate(
    model_name: str, items: Path, settings: TaskSettings, out: Path, threads: int, seed: int
) -> list[Score]:
    """Precision of the predicted contacts of the test proteins (see `Task.evaluate`).

    The table `out` has a row for each: id, length, and by range and metric the precision and the
    share of contacts among all pairs of the range (`base`), which is what chance gives.
    """
    proteins = pq.read_table(items).to_pylist()
    with open_model(model_name, threads) as model:
        fits = [item for item in proteins if _is_one_window(model, item["sequence"])]
        too_long = len(proteins) - len(fits)
        train, test = _divided(fits, settings.contacts.train, seed)
        if not train or not test:
            raise DownstreamError(
                f"{items}: {len(train)} proteins to fit to and {len(test)} to test, of "
                f"{len(proteins)}; {too_long} are longer than the context of {model_name} "
                f"({model.context_length} tokens). Lower downstream.contacts.train, or take a "
                "model with a longer context"
            )
        progress = Progress("contacts", sum(len(p["sequence"]) for p in train + test), "residues")
        wanted = settings.contacts
        known = _features(model, train, progress)
        regression = fit_contacts(known, wanted.penalty, wanted.separation)
        facts, rows = model.facts, []
        for item, (features, contacts) in zip(test, _features(model, test, progress), strict=True):
            logits = regression.logits(features)
            row = {"id": item["id"], "length": len(contacts)}
            for name, pairs in RANGES.items():
                found = precision(logits, contacts, pairs)
                row |= {f"{name}.{metric}": value for metric, value in found.by_metric.items()}
                row[f"{name}.{BASE}"] = found.base
            rows.append(row)
    columns = [f"{name}.{metric}" for name in RANGES for metric in (*METRICS, BASE)]
    fields = [("id", pa.string()), ("length", pa.int64())]
    schema = pa.schema([*fields, *((column, pa.float64()) for column in columns)], facts)
    table = pa.Table.from_pylist(rows, schema)
    with atomic(out) as temporary:
        pq.write_table(table, temporary)
    note = f"regression fitted to {len(train)} proteins"
    if too_long:
        note += f"; {too_long} of {len(proteins)} proteins are longer than the context"
    if not any(weights.any() for weights in regression.weights):
        note += "; it found nothing in the attention maps"
    return _scores(table, note, seed)


def _is_one_window(model: Model, sequence: str) -> bool:
    return len(model.windows(np.array([len(sequence)])).size) == 1


def _divided(proteins: list[Item], count: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Proteins that the regression is fitted to, `count` drawn from the training split, and those
    that test it. Where there are no splits, all that were not drawn do."""
    train = [item for item in proteins if item["split"] == TRAIN]
    test = [item for item in proteins if item["split"] == TEST]
    if not train and not test:
        train = test = proteins
    order = np.random.default_rng(seed).permutation(len(train))
    drawn = [train[i] for i in sorted(order[:count].tolist())]
    return drawn, [item for item in test if item not in drawn]


def _features(
    model: Model, proteins: list[Item], progress: Progress
) -> Iterator[tuple[Iterator[Features], Map]]:
    for item in proteins:
        yield attention_features(model, item["sequence"]), contacts_of(item)
        progress.add(len(item["sequence"]))


def _scores(table: pa.Table, note: str, seed: int) -> list[Score]:
    """Means over the proteins that have a value; none if no protein has."""
    scores = []
    for name in RANGES:
        base = _known(table, f"{name}.{BASE}")
        for metric in METRICS:
            values = _known(table, f"{name}.{metric}")
            scores.append(
                Score(
                    protocol=name,
                    metric=metric,
                    value=float(values.mean()) if len(values) else None,
                    standard_error=mean_error(values, seed),
                    n_items=len(base),
                    n_groups=len(base),
                    floor=float(base.mean()) if len(base) else None,
                    note=note,
                )
            )
    return scores


def _known(table: pa.Table, column: str) -> np.ndarray:
    values: np.ndarray = table[column].drop_null().to_numpy()
    return values
