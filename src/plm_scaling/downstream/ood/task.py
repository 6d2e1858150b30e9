"""Perplexity of sequences by how like the training sequences they are."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import write_json
from plm_scaling.common.progress import Progress
from plm_scaling.common.tables import table_writer
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.bootstrap import ratio_error, standard_error
from plm_scaling.downstream.read import TEST, unique
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.similarity.identity import best_identities
from plm_scaling.downstream.table import Dataset
from plm_scaling.inference.arrays import Floats, Ints
from plm_scaling.inference.fasta import chunked, entries_of
from plm_scaling.inference.models.describe import describe
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.tokens.format.vocabulary import STANDARD

if TYPE_CHECKING:
    from plm_scaling.inference.scoring.scorer import Scorer

# By the highest identity to a training sequence (from, to before); without any it is 0. The study
# reports below 0.9 and below 0.5 (README of ONERAI/xTrimoPGLM).
BINS = {
    **{"all": (0, 1.01), "below_0.9": (0, 0.9), "below_0.5": (0, 0.5)},
    **{"0_to_0.3": (0, 0.3), "0.3_to_0.5": (0.3, 0.5), "0.5_to_0.7": (0.5, 0.7)},
    **{"0.7_to_0.9": (0.7, 0.9), "0.9_to_1": (0.9, 1.01)},
}


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write items.parquet, counts.tsv and task.json of a dataset (see `Task.prepare`).

    The first file has the sequences (FASTA), the others the training sequences that these are
    compared with. Without others, an `exposure` is taken at evaluation.
    """
    counts = Counts("prepare")
    found: dict[bytes, str] = {}
    for records in read_fasta(files[0]):
        for one in records.rejected:
            counts.add(row.dataset, "in", 1, one.residues)
            counts.add(row.dataset, one.reason, 1, one.residues)
        for name, sequence in zip(records.ids, records.sequences, strict=True):
            counts.add(row.dataset, "in", 1, len(sequence))
            fault = "same_sequence" if sequence in found else "kept"
            counts.add(row.dataset, fault, 1, len(sequence))
            found.setdefault(sequence, name.decode())
    if not found:
        raise DownstreamError(f"{files[0]} has no sequence that can be used; give another file")
    sequences = [sequence.decode() for sequence in found]
    identity = np.full(len(sequences), np.nan)
    if training := files[1:]:
        trained = [one.decode() for batch in read_fasta(training) for one in batch.sequences]
        identity = np.nan_to_num(best_identities(sequences, trained, out / "identity"))
    names = unique([*found.values()])
    columns = {"id": names, "split": TEST, "sequence": sequences, "group": names}
    pd.DataFrame(columns | {"identity": identity}).to_parquet(out / "items.parquet", index=False)
    counts.write(out / "counts.tsv")
    write_json(out / "task.json", {"task": row.task, "dataset": row.dataset})


def evaluate(
    model_name: str,
    items: Path,
    settings: TaskSettings,
    out: Path,
    threads: int,
    seed: int,
    exposure: Path | None = None,
) -> list[Score]:
    """Nats per residue and perplexity, of all sequences and in bins of identity.

    Only the 20 amino acids count, their probabilities among themselves, from the second residue on
    (a CLM may have nothing to predict the first from): models with other tokens compare. An MLM
    predicts as many at a time as it was trained to, or one if that is not known. The table `out`
    has a row per sequence: id, length, identity, residues that count and their nats. The floor is
    what the shares of the amino acids in the same sequences give.
    """
    describe(model_name)
    from plm_scaling.inference.models.open import open_model  # PyTorch
    from plm_scaling.inference.scoring.scorer import Scorer

    rows = pd.read_parquet(items)
    identity = _identities(exposure, rows)
    with open_model(model_name, threads) as model:
        fast = model.mask_ratio is not None
        scorer = Scorer(model, fast=fast, amino_acids=True)
        names = {"id": pa.string(), "length": pa.int64(), "identity": pa.float64()}
        kinds = names | {"residues": pa.int64(), "nats": pa.float64()}
        schema = pa.schema(kinds, model.facts)
        lengths: Ints = np.array([len(sequence) for sequence in rows["sequence"]])
        progress = Progress("perplexity", int(scorer.work(lengths).sum()), "tokens")
        found = [*_nats(scorer, [*rows["sequence"]], progress)]
        note = "causal" if model.objective == "clm" else "masked " + ("fast" if fast else "singly")
    residues, nats = (np.array(values) for values in zip(*found, strict=True))
    columns = [rows["id"], lengths, identity, residues, nats]
    with table_writer(out, schema) as write:
        write(pa.record_batch([pa.array(one, from_pandas=True) for one in columns], schema=schema))
    if np.isnan(identity).all():
        return _scores("all", rows["sequence"], residues, nats, note, seed)
    note += f"; {int((identity == 0).sum())} of {len(rows)} are like no training sequence"
    scores = []
    for name, (low, high) in BINS.items():
        own = (identity >= low) & (identity < high)
        scores += _scores(name, rows["sequence"][own], residues[own], nats[own], note, seed)
    return scores


def _identities(exposure: Path | None, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Of the items, or of the search of a study's training set; 0 where none was found, NaN if
    nothing was searched."""
    if rows["identity"].notna().any() or exposure is None:
        return rows["identity"].to_numpy(np.float64)
    found = pq.read_table(exposure, columns=["id", "identity"]).to_pandas()
    known = rows["id"].map(dict(zip(found["id"], found["identity"], strict=True)))
    return np.nan_to_num(known.to_numpy(np.float64))


def _nats(
    scorer: "Scorer", sequences: list[str], progress: Progress
) -> Iterator[tuple[int, float]]:
    """Of each sequence the residues that count and their summed nats."""
    standard = np.frombuffer(STANDARD.encode(), np.uint8)
    for some in chunked(sequences, scorer.chunk_residues):
        entries, lengths = entries_of(some)
        logs: Floats = scorer.scores(entries, lengths, count=progress.add)[0]
        starts = np.cumsum(lengths) - lengths
        letters = np.frombuffer("".join(some).encode(), np.uint8)
        counted = np.isin(letters, standard) & np.isfinite(logs)
        counted[starts] = False
        sums = np.add.reduceat(np.where(counted, -logs.astype(np.float64), 0), starts)
        yield from zip(
            np.add.reduceat(counted.astype(np.int64), starts).tolist(), sums.tolist(), strict=True
        )


def _scores(
    name: str,
    sequences: pd.Series,
    residues: NDArray[np.int64],
    nats: NDArray[np.float64],
    note: str,
    seed: int,
) -> list[Score]:
    total = int(residues.sum())
    value = float(nats.sum() / total) if total else None
    letters = Counter("".join(sequences))
    counts = np.array([letters[letter] for letter in STANDARD], np.float64)
    shares = counts[counts > 0] / max(counts.sum(), 1)
    floor = float(-(shares * np.log(shares)).sum()) if total else None
    size = residues.astype(np.float64)
    some = size > 0

    def perplexity(drawn: Ints) -> float | None:
        return float(np.exp(nats[some][drawn].sum() / size[some][drawn].sum()))

    n = int(some.sum())
    errors = ratio_error(nats[some], size[some], seed), standard_error(perplexity, n, seed)
    measures = ("nats_per_residue", lambda one: one), ("perplexity", lambda one: float(np.exp(one)))
    return [
        Score(
            protocol=name,
            metric=metric,
            value=None if value is None else of(value),
            standard_error=error,
            n_items=total,
            n_groups=n,
            floor=None if floor is None else of(floor),
            note=note,
        )
        for (metric, of), error in zip(measures, errors, strict=True)
    ]
