"""Scores of the proteins of a FASTA file, as a table in its order."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.fasta import read_chunks, survey
from plm_scaling.inference.run import TrainedRun, find_run, open_run
from plm_scaling.inference.scorer import Scorer, mean_nll
from plm_scaling.inference.tables import check_format, lists, table_writer, vectors
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable
from plm_scaling.tokens.format.vocabulary import STANDARD


def score_fasta(
    cell: str,
    fasta: list[Path],
    out: Path,
    fast: bool,
    per_residue: bool,
    threads: int,
    skip_bad: bool = False,
) -> Survey:
    """Write the table of scores of every protein in the files `fasta` by the run of `cell`.

    Columns: id, length (residues), nll_per_residue (nats, mean over the residues that are
    predicted), perplexity (its exponential); `per_residue` adds log_probability (nats, null for the
    first residue of a CLM without start token) and, for an MLM, marginals (those of the 20 amino
    acids). Raises `InferenceError` or `SourceError` before anything is computed where it can be
    known; see `Survey` of records that cannot be used.
    """
    found = Survey(out, skip_bad)
    with open_run(find_run(cell), threads) as run, readable(fasta, "fasta") as files:
        masked = run.cell.objective == "mlm"
        check_format(out, nested=per_residue and masked)
        if fast and not masked:
            raise InferenceError(
                f"--fast is for masked models; {cell} is causal: one pass is exact"
            )
        scorer = Scorer(run, fast)
        progress = survey("score", files, found, scorer.chunk_residues, scorer.work)
        method = ("masked, fast" if fast else "masked one at a time") if masked else "causal"
        schema = _schema(run, method, per_residue)
        with table_writer(out, schema) as write:
            for chunk in read_chunks(read_fasta(files), scorer.chunk_residues):
                own, marginals = scorer.scores(
                    chunk.entries, chunk.lengths, per_residue and masked, progress.add
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


def _schema(run: TrainedRun, method: str, per_residue: bool) -> pa.Schema:
    fields = [
        pa.field("id", pa.string()),
        pa.field("length", pa.int64()),
        pa.field("nll_per_residue", pa.float64()),
        pa.field("perplexity", pa.float64()),
    ]
    if per_residue:
        fields.append(pa.field("log_probability", pa.list_(pa.float32())))
        if run.cell.objective == "mlm":
            marginals = pa.list_(pa.list_(pa.float32(), len(STANDARD)))
            fields.append(pa.field("marginals", marginals, metadata={"residues": STANDARD}))
    return pa.schema(fields, run.facts | {"method": method})
