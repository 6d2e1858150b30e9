"""Contacts from attention maps: how well what a model attends to says which residues touch."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.progress import Progress
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.bootstrap import mean_error
from plm_scaling.downstream.contacts.items import contacts_of, write_items
from plm_scaling.downstream.contacts.precision import METRICS, RANGES, precision
from plm_scaling.downstream.contacts.regression import fit_contacts
from plm_scaling.downstream.contacts.structures import Map
from plm_scaling.downstream.read import TEST, TRAIN
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset
from plm_scaling.inference.arrays import Floats
from plm_scaling.inference.models.describe import describe
from plm_scaling.inference.models.description import Description

if TYPE_CHECKING:
    from plm_scaling.inference.models.model import Model

BASE = "base"
TUNED = "lora_"  # before the names of what a model with adapters predicts
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
    share of contacts among all pairs of the range (`base`), which is what chance gives. With
    `settings.lora` the model is also fine-tuned, to all proteins of the training split.
    """
    proteins = pq.read_table(items).to_pylist()
    described = describe(model_name)[1]
    fits = [item for item in proteins if _is_one_window(described, item["sequence"])]
    too_long = len(proteins) - len(fits)
    train, test, known = _divided(fits, settings.contacts.train, seed)
    if not train or not test:
        raise DownstreamError(
            f"{items}: {len(train)} proteins to fit to and {len(test)} to test, of "
            f"{len(proteins)}; {too_long} are longer than the context of {model_name} "
            f"({described.context_length} tokens). Lower downstream.contacts.train, or take a "
            "model with a longer context"
        )
    from plm_scaling.downstream.lora.contacts import tuned_contacts  # PyTorch
    from plm_scaling.inference.models.open import open_model

    with open_model(model_name, threads) as model:
        progress = Progress("contacts", sum(len(p["sequence"]) for p in train + test), "residues")
        wanted = settings.contacts
        regression = fit_contacts(
            _features(model, train, progress), wanted.penalty, wanted.separation
        )
        facts, rows = model.facts, []
        for item, (features, contacts) in zip(test, _features(model, test, progress), strict=True):
            row = {"id": item["id"], "length": len(contacts)}
            rows.append(row | _measured("", regression.logits(features), contacts))
        if settings.lora is not None:
            pairs = [(item["sequence"], contacts_of(item)) for item in known]
            sequences = [item["sequence"] for item in test]
            tuned = tuned_contacts(model, pairs, sequences, wanted.separation, settings.lora, seed)
            for row, item, logits in zip(rows, test, tuned, strict=True):
                row |= _measured(TUNED, logits, contacts_of(item))
    kinds = ["", *[TUNED] * (settings.lora is not None)]
    measures = [f"{name}.{metric}" for name in RANGES for metric in (*METRICS, BASE)]
    columns = [kind + measure for kind in kinds for measure in measures]
    fields = [("id", pa.string()), ("length", pa.int64())]
    schema = pa.schema([*fields, *((column, pa.float64()) for column in columns)], facts)
    table = pa.Table.from_pylist(rows, schema)
    with atomic(out) as temporary:
        pq.write_table(table, temporary)
    note = f"regression fitted to {len(train)} proteins"
    left_out = ""
    if too_long:
        left_out = f"; {too_long} of {len(proteins)} proteins are longer than the context"
    if not any(weights.any() for weights in regression.weights):
        note += "; it found nothing in the attention maps"
    scores = _scores(table, "", note + left_out, seed)
    if settings.lora is not None:
        scores += _scores(table, TUNED, f"fine-tuned to {len(known)} proteins" + left_out, seed)
    return scores


def _measured(kind: str, logits: NDArray[np.float32], contacts: Map) -> dict[str, float | None]:
    """The columns of a protein's row."""
    columns: dict[str, float | None] = {}
    for name, pairs in RANGES.items():
        found = precision(logits, contacts, pairs)
        columns |= {f"{kind}{name}.{metric}": value for metric, value in found.by_metric.items()}
        columns[f"{kind}{name}.{BASE}"] = found.base
    return columns


def _is_one_window(model: Description, sequence: str) -> bool:
    return len(model.windows(np.array([len(sequence)])).size) == 1


def _divided(
    proteins: list[Item], count: int, seed: int
) -> tuple[list[Item], list[Item], list[Item]]:
    """Proteins that the regression is fitted to, `count` drawn from the training split, those that
    test it, and all of the training split. Where there are no splits, all that were not drawn test,
    and those drawn are the training split."""
    train = [item for item in proteins if item["split"] == TRAIN]
    test = [item for item in proteins if item["split"] == TEST]
    if not train and not test:
        drawn = _drawn(proteins, count, seed)
        return drawn, [item for item in proteins if item not in drawn], drawn
    return _drawn(train, count, seed), test, train


def _drawn(proteins: list[Item], count: int, seed: int) -> list[Item]:
    order = np.random.default_rng(seed).permutation(len(proteins))
    return [proteins[i] for i in sorted(order[:count].tolist())]


def _features(
    model: "Model", proteins: list[Item], progress: Progress
) -> Iterator[tuple[Iterator[Floats], Map]]:
    from plm_scaling.downstream.contacts.attention import attention_features  # PyTorch

    for item in proteins:
        yield attention_features(model, item["sequence"]), contacts_of(item)
        progress.add(len(item["sequence"]))


def _scores(table: pa.Table, kind: str, note: str, seed: int) -> list[Score]:
    """Means over the proteins that have a value; none if no protein has."""
    scores = []
    for name in RANGES:
        base = _known(table, f"{kind}{name}.{BASE}")
        for metric in METRICS:
            values = _known(table, f"{kind}{name}.{metric}")
            scores.append(
                Score(
                    protocol=kind + name,
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
