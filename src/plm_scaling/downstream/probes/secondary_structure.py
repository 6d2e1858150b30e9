"""Helix, strand or coil of each residue, by logistic regression of its hidden state."""

from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.progress import Progress
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.bootstrap import ratio_error
from plm_scaling.downstream.probes.features import Embeddings, Features
from plm_scaling.downstream.probes.items import Floors, read_items, write_items
from plm_scaling.downstream.probes.linear import choose, fit
from plm_scaling.downstream.probes.sequence_probe import TUNED, write_predictions
from plm_scaling.downstream.read import TEST, TRAIN, VALID, read_tables
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset
from plm_scaling.inference.arrays import Floats, Ints
from plm_scaling.inference.models.describe import describe
from plm_scaling.tokens.format.vocabulary import RESIDUES

LABELS = ("ss3", "label")
RESOLVED = "resolved"
CLASSES = "HEC"
UNRESOLVED = "-"
MAJORITY, LETTER = "majority", "letter"
# Residues that are fitted to, and that choose, at most: drawn at random of all there are. They are
# held with their states; in a model of width 2,560 that is 1.2 GB.
MAX_RESIDUES = {TRAIN: 100_000, VALID: 20_000}


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write items.parquet, counts.tsv and task.json of a dataset (see `Task.prepare`).

    Labels are strings of H, E and C, a letter for each residue; a column `resolved` of 0 and 1 says
    which are in the structure, or the label has - for those that are not. Proteins of which none is
    are dropped.
    """
    rows = read_tables(files, row.split, LABELS, [RESOLVED])
    rows["label"] = [_label(one) for one in rows.to_dict("records")]
    write_items(rows, row, files, _floors, out)


def evaluate(
    model_name: str, items: Path, settings: TaskSettings, out: Path, threads: int, seed: int
) -> list[Score]:
    """Q3: the share of resolved residues of the test proteins whose class is right (see
    `Task.evaluate`); `out` has the predicted classes of each protein."""
    for layer in settings.probe.layers:
        describe(model_name)[1].layer_number(layer)
    from plm_scaling.downstream.lora.residues import tuned_residues  # PyTorch
    from plm_scaling.inference.embedder import Embedder
    from plm_scaling.inference.models.open import open_model

    rows, floors, overlap = read_items(items)
    train, valid = (_drawn(rows[rows["split"] == name], name, seed) for name in (TRAIN, VALID))
    test = rows[rows["split"] == TEST]
    known = pd.concat([train, valid])
    lengths, test_lengths = (_lengths(one) for one in (known, test))
    best = None
    with open_model(model_name, threads) as model:
        embedders = [Embedder(model, layer) for layer in settings.probe.layers]
        work = sum(int(one.work(lengths).sum()) for one in embedders)
        work += int(embedders[0].work(test_lengths).sum())
        progress = Progress("probe", work, "tokens")
        for embedder in embedders:
            x, y = _residues(Embeddings(embedder, progress), known)
            is_valid = np.arange(len(y)) >= train["used"].map(len).sum()
            chosen = choose("logistic", x, y, is_valid, seed)
            if best is None or chosen.quality > best[0].quality:
                best = chosen, embedder, x, y
        assert best is not None, "the config has at least one layer"
        chosen, embedder, x, y = best
        fitted = fit("logistic", x, y, chosen.strength)
        facts = model.facts
        states = Embeddings(embedder, progress).residues([*test["sequence"]])
        table = test[["id", "label"]].assign(
            predicted=["".join(fitted.predict(one)) for one in states]
        )
        if settings.lora is not None:
            every, texts = rows[rows["split"].isin([TRAIN, VALID])], [*test["sequence"]]
            table[TUNED] = tuned_residues(model, every, texts, CLASSES, settings.lora, seed)
    write_predictions(table, facts, out)

    def score(protocol: str, column: str, layer: int, note: str) -> Score:
        predicted = table[column]
        resolved, correct = np.array(
            [_counts(*pair) for pair in zip(table["label"], predicted, strict=True)]
        ).T
        constant = len({*"".join(predicted)}) == 1
        note += f"; {overlap}"
        if floors[MAJORITY] is not None:
            note += f"; the commonest class alone {floors[MAJORITY]:.3f}"
        return Score(
            protocol=protocol,
            metric="q3",
            value=None if constant else float(correct.sum() / resolved.sum()),
            standard_error=None if constant else ratio_error(correct, resolved, seed),
            n_items=int(resolved.sum()),
            n_groups=len(table),
            layer=layer,
            floor=floors[LETTER],
            note=note + "; one class is predicted for all" * constant,
        )

    fit_to = f"logistic regression C {chosen.strength:g} of {len(y):,} residues"
    found = [score("logistic", "predicted", embedder.layer, fit_to)]
    if settings.lora is not None:
        found.append(score("lora", TUNED, model.layers, "fine-tuned"))
    return found


def _label(row: Mapping[Hashable, Any]) -> str | None:
    label, length = row["label"], len(row["sequence"])
    if not isinstance(label, str):
        return None
    resolved = str(row.get(RESOLVED, "1" * length))
    for name, value, letters in (
        ("label", label, CLASSES + UNRESOLVED),
        (RESOLVED, resolved, "01"),
    ):
        if len(value) != length:
            raise DownstreamError(
                f"{row['where']}: {name} has {len(value)} letters, the sequence {length}; they are "
                "not of the same chain, correct or remove the row"
            )
        if wrong := {*value} - {*letters}:
            raise DownstreamError(
                f"{row['where']}: {name} has {sorted(wrong)[0]!r}, which is none of {letters}; "
                "correct it"
            )
    pairs = zip(label, resolved, strict=True)
    seen = "".join(one if known == "1" else UNRESOLVED for one, known in pairs)
    return seen if seen.strip(UNRESOLVED) else None


def _floors(rows: pd.DataFrame) -> Floors:
    """Q3 on the test proteins of the class that is commonest in training: of all residues, and of
    each amino acid's (what logistic regression of one-hot letters predicts)."""
    tests = rows["split"] == TEST
    train, test = (_classes_by_letter(rows[own]) for own in (~tests, tests))
    total = test.sum()
    majority = test.sum(0)[train.sum(0).argmax()]
    by_letter = test[np.arange(len(test)), train.argmax(1)].sum()
    return {MAJORITY: float(majority / total), LETTER: float(by_letter / total)}


def _classes_by_letter(rows: pd.DataFrame) -> Ints:
    """Numbers [letters, classes] of resolved residues."""
    found = Counter[tuple[str, str]]()
    for sequence, label in zip(rows["sequence"], rows["label"], strict=True):
        found.update(zip(sequence, label, strict=True))
    return np.array([[found[letter, one] for one in CLASSES] for letter in RESIDUES], np.int64)


def _drawn(rows: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    """The proteins of a set with, as `used`, the places of the residues that are taken, and as
    `classes` these residues'; proteins of which none is taken are left out."""
    places = [
        np.flatnonzero(np.frombuffer(label.encode(), np.uint8) != ord(UNRESOLVED))
        for label in rows["label"]
    ]
    protein = np.repeat(np.arange(len(rows)), [len(own) for own in places])
    rng = np.random.default_rng(seed)
    taken = np.sort(rng.permutation(len(protein))[: MAX_RESIDUES[name]])
    everywhere = np.concatenate([np.empty(0, np.int64), *places])
    borders = np.searchsorted(protein[taken], np.arange(1, len(rows)))
    used = np.split(everywhere[taken], borders) if len(rows) else []
    drawn = rows.assign(used=pd.Series(used, rows.index, dtype=object))
    return drawn[drawn["used"].map(len) > 0]


def _lengths(rows: pd.DataFrame) -> Ints:
    return np.array([len(sequence) for sequence in rows["sequence"]], np.int64)


def _residues(features: Features, rows: pd.DataFrame) -> tuple[Floats, np.ndarray]:
    """States [residues, width] and classes of the residues that are taken."""
    states = features.residues([*rows["sequence"]])
    x = [own[used] for own, used in zip(states, rows["used"], strict=True)]
    y = [label[i] for label, used in zip(rows["label"], rows["used"], strict=True) for i in used]
    return np.concatenate(x), np.array(y)


def _counts(label: str, predicted: str) -> tuple[float, float]:
    """Resolved residues, and those of them that are predicted right."""
    pairs = [(a, b) for a, b in zip(label, predicted, strict=True) if a != UNRESOLVED]
    return float(len(pairs)), float(sum(a == b for a, b in pairs))
