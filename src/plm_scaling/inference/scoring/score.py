"""Scores of the proteins of a FASTA file, as a table in its order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import InferenceError
from plm_scaling.common.progress import Progress, logger, short_time
from plm_scaling.common.tables import check_table, table_writer
from plm_scaling.inference.arrays import Ints
from plm_scaling.inference.fasta import read_chunks, survey
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.scoring.scorer import Scorer, mean_nll
from plm_scaling.inference.tables import lists, vectors
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable
from plm_scaling.tokens.format.vocabulary import STANDARD

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
    found = Survey(out, skip_bad)
    with open_model(name, threads) as model, readable(fasta, "fasta") as files:
        masked = model.objective == "mlm"
        if fast and not masked:
            raise InferenceError(
                f"--fast is for masked models; {name} is causal: one pass is exact"
            )
        scorer = Scorer(model, fast, amino_acids)
        proposal = FastProposal(scorer)
        progress = survey("score", files, found, scorer.chunk_residues, proposal.work)
        method = ("masked, fast" if fast else "masked one at a time") if masked else "causal"
        method += ", amino acids alone" if amino_acids else ""
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
    return found


class FastProposal:
    """Proposes `--fast`, once, where masking residues one by one takes long and it is possible.

    It counts what `scorer` does, and beside it how many tokens would pass through with `--fast`.
    """

    def __init__(self, scorer: Scorer) -> None:
        model = scorer.model
        possible = model.objective == "mlm" and not scorer.fast and model.mask_ratio is not None
        self._scorer = scorer
        self._fast = replace(scorer, fast=True) if possible else None
        self._fast_tokens = 0

    def work(self, lengths: Ints) -> int:
        """As `Scorer.work`."""
        if self._fast is not None:
            self._fast_tokens += self._fast.work(lengths)
        return self._scorer.work(lengths)

    def count(self, tokens: float, progress: Progress) -> None:
        """Count tokens that are done in `progress`."""
        progress.add(tokens)
        if self._fast is None or progress.seconds(progress.done) < SECONDS_BEFORE_PROPOSAL:
            return
        left = progress.seconds(progress.total - progress.done)
        if left > LONG_SECONDS:
            ratio = self._scorer.model.mask_ratio
            logger.info(
                f"[score] {short_time(left)} left, one residue masked at a time. --fast would take "
                f"about {short_time(progress.seconds(self._fast_tokens))}: it masks {ratio:.0%} of "
                "the residues at a time, as in training, so that each is predicted from less and "
                "perplexities are mostly higher; compare only scores of one method"
            )
        self._fast = None


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
