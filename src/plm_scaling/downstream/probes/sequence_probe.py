"""A linear model from a sequence's mean hidden state to its label."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plm_scaling.common.files import atomic
from plm_scaling.common.progress import Progress
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.probes.features import Embeddings
from plm_scaling.downstream.probes.linear import Kind, choose, fit
from plm_scaling.downstream.read import TEST, TRAIN, VALID
from plm_scaling.inference.models.describe import describe

TUNED = "tuned"


@dataclass(frozen=True)
class Probed:
    """Test items (id, split, label) with `predicted`, by the layer and strength that validation
    chose, and what tables say of the model; with `tuned`, what the model with adapters predicts,
    if it has been fine-tuned."""

    table: pd.DataFrame
    facts: dict[str, str]
    layer: int
    strength: float
    last_layer: int


def probe_sequences(
    kind: Kind,
    model_name: str,
    items: pd.DataFrame,
    settings: TaskSettings,
    threads: int,
    seed: int,
) -> Probed:
    """Fit `kind` to the training items by the mean hidden states of a model.

    Each layer and strength is judged on the validation items, or by folds where there are few; the
    best is fitted to training and validation items together, and predicts the test items. With
    `settings.lora` the model is also fine-tuned to training and validation items.
    """
    for layer in settings.probe.layers:
        describe(model_name)[1].layer_number(layer)
    from plm_scaling.downstream.lora.sequences import tuned_labels  # PyTorch
    from plm_scaling.inference.embedder import Embedder
    from plm_scaling.inference.models.open import open_model

    known = items[items["split"].isin([TRAIN, VALID])]
    tests = items[items["split"].str.startswith(TEST)]
    y: NDArray[Any] = known["label"].to_numpy()
    valid = (known["split"] == VALID).to_numpy()
    sequences = [*known["sequence"], *tests["sequence"]]
    lengths = np.array([len(sequence) for sequence in sequences])
    best = None
    with open_model(model_name, threads) as model:
        embedders = [Embedder(model, layer) for layer in settings.probe.layers]
        progress = Progress(
            "probe", sum(int(one.work(lengths).sum()) for one in embedders), "tokens"
        )
        for embedder in embedders:
            x = Embeddings(embedder, progress).means(sequences)
            chosen = choose(kind, x[: len(known)], y, valid, seed)
            if best is None or chosen.quality > best[0].quality:
                best = chosen, embedder.layer, x
        facts, last_layer = model.facts, model.layers
        tuned = {}
        if settings.lora is not None:
            labels = tuned_labels(
                model, known, [*tests["sequence"]], kind == "logistic", settings.lora, seed
            )
            tuned = {TUNED: labels}
    assert best is not None, "the config has at least one layer"
    chosen, layer, x = best
    predicted = fit(kind, x[: len(known)], y, chosen.strength).predict(x[len(known) :])
    table = tests[["id", "split", "label"]].assign(predicted=predicted, **tuned)
    return Probed(table.reset_index(drop=True), facts, layer, chosen.strength, last_layer)


def write_predictions(table: pd.DataFrame, facts: dict[str, str], out: Path) -> None:
    """Write the table (Parquet) with what it says of the model, whole or not at all."""
    rows = pa.Table.from_pandas(table, preserve_index=False)
    with atomic(out) as temporary:
        pq.write_table(rows.replace_schema_metadata(facts), temporary)
