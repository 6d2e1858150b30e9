"""Scores of the proteins of a FASTA file, as a table in its order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from plm_scaling.common.progress import Progress, logger, short_time
from plm_scaling.common.tables import check_table, table_writer
from plm_scaling.inference.fasta import Lengths, read_chunks, survey
from plm_scaling.inference.models.describe import describe
from plm_scaling.inference.tables import lists, vectors
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable
from plm_scaling.tokens.format.vocabulary import STANDARD

if TYPE_CHECKING:
    from plm_scaling.inference.models.model import Model
    from plm_scaling.inference.scoring.scorer import Scorer

LONG_SECONDS = 60.0
SECONDS_BEFORE_PROPOSAL = 5.0  # after which the time left is known


def score_fasta(
    name: str,
    fasta: list[Path],
    out: Path,
    fast: bool,
    per_residue: bool,
    threads: int,
    skip_bad: bool = False,
    amino_acids: bool = False,
) -> Survey:
    """Write the table of scores of every protein in the files `fasta` by the model `name`.

    Columns: id, length (residues), nll_per_residue (nats, mean over the residues that are
    predicted), perplexity (its exponential); `per_residue` adds log_probability (nats, null where
    there is none) and, for an MLM, marginals (those of the 20 amino acids); see `Scorer`. Raises
    `InferenceError` or `SourceError` before anything is computed where it can be known; see
    `Survey` of records that cannot be used.
    """
    check_table(out)
    described = describe(name)[1]
    if fast:
        described.check_fast()
    found = Survey(out, skip_bad)
    with readable(fasta, "fasta") as files:
        lengths = survey("score", files, found)
        # PyTorch, which takes seconds: nothing that can be refused before is refused after it.
        from plm_scaling.inference.models.open import open_model
        from plm_scaling.inference.scoring.scorer import Scorer

        with open_model(name, threads) as model:
            scorer = Scorer(model, fast, amino_acids)
            _write(scorer, files, lengths, out, per_residue)
    return found


def _write(
    scorer: Scorer, files: list[Path], lengths: Lengths, out: Path, per_residue: bool
) -> None:
    from plm_scaling.inference.scoring.scorer import mean_nll

    model, fast = scorer.model, scorer.fast
    masked = model.objective == "mlm"
    proposal = FastProposal(scorer, lengths)
    progress = Progress("score", lengths.total(scorer.work), "tokens")
    method = ("masked, fast" if fast else "masked one at a time") if masked else "causal"
    method += ", amino acids alone" if scorer.amino_acids else ""
    schema = _schema(model, method, per_residue)
    with table_writer(out, schema) as write:
        for chunk in read_chunks(read_fasta(files), scorer.chunk_residues):
            own, marginals = scorer.scores(
                chunk.entries,
                chunk.lengths,
                per_residue and masked,
                lambda tokens: proposal.count(tokens, progress),
            )
            nll = mean_nll(own, chunk.lengths)
            columns = [pa.array(chunk.ids), pa.array(chunk.lengths)]
            # NaN, for nothing predicted, becomes null.
            columns += [pa.array(value, from_pandas=True) for value in (nll, np.exp(nll))]
            if per_residue:
                columns.append(lists(pa.array(own, from_pandas=True), chunk.lengths))
            if marginals is not None:
                columns.append(lists(vectors(marginals), chunk.lengths))
            write(pa.record_batch(columns, schema=schema))


class FastProposal:
    """Proposes `--fast`, once, where masking residues one by one takes long and it is possible.

    `lengths` are those of all sequences that `scorer` is to score.
    """

    def __init__(self, scorer: Scorer, lengths: Lengths) -> None:
        model = scorer.model
        possible = model.objective == "mlm" and not scorer.fast and model.mask_ratio is not None
        self._mask_ratio = model.mask_ratio
        fast = replace(scorer, fast=True) if possible else None
        self._fast_tokens = None if fast is None else lengths.total(fast.work)

    def count(self, tokens: float, progress: Progress) -> None:
        """Count tokens that are done in `progress`."""
        progress.add(tokens)
        if self._fast_tokens is None or progress.seconds(progress.done) < SECONDS_BEFORE_PROPOSAL:
            return
        left = progress.seconds(progress.total - progress.done)
        if left > LONG_SECONDS:
            logger.info(
                f"[score] {short_time(left)} left, one residue masked at a time. --fast would take "
                f"about {short_time(progress.seconds(self._fast_tokens))}: it masks "
                f"{self._mask_ratio:.0%} of the residues at a time, as in training, so that each "
                "is predicted from less and perplexities are mostly higher; compare only scores of "
                "one method"
            )
        self._fast_tokens = None


def _schema(model: Model, method: str, per_residue: bool) -> pa.Schema:
    fields = [
        pa.field("id", pa.string()),
        pa.field("length", pa.int64()),
        pa.field("nll_per_residue", pa.float64()),
        pa.field("perplexity", pa.float64()),
    ]
    if per_residue:
        fields.append(pa.field("log_probability", pa.list_(pa.float32())))
        if model.objective == "mlm":
            marginals = pa.list_(pa.list_(pa.float32(), len(STANDARD)))
            fields.append(pa.field("marginals", marginals, metadata={"residues": STANDARD}))
    return pa.schema(fields, model.facts | {"method": method})
