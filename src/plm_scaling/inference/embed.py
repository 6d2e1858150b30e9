"""Embeddings of the proteins of a FASTA file, as a table in its order."""

from pathlib import Path

import pyarrow as pa

from plm_scaling.inference.embedder import CHUNK_VALUES, Embedder
from plm_scaling.inference.fasta import read_chunks, survey
from plm_scaling.inference.run import TrainedRun, find_run, open_run
from plm_scaling.inference.tables import check_format, lists, table_writer, vectors


def embed_fasta(
    cell: str, fasta: Path, out: Path, layer: int, per_residue: bool, threads: int
) -> None:
    """Write the table of embeddings of every protein in `fasta` by the run of `cell`.

    Columns: id, length, and embedding: float32, of the model's width, the mean over the residues,
    or with `per_residue` a list of one for each residue.
    """
    with open_run(find_run(cell), threads) as run:
        check_format(out, nested=True)
        embedder = Embedder(run, layer)
        residues = CHUNK_VALUES // embedder.width
        progress = survey("embed", fasta, residues, embedder.work)
        schema = _schema(run, embedder.layer, per_residue)
        with table_writer(out, schema) as write:
            for chunk in read_chunks(fasta, residues):
                if per_residue:
                    states = embedder.residues(chunk.entries, chunk.lengths, progress.add)
                    embedding = lists(vectors(states), chunk.lengths)
                else:
                    means = embedder.means(chunk.entries, chunk.lengths, progress.add)
                    embedding = vectors(means)
                columns = [pa.array(chunk.ids), pa.array(chunk.lengths), embedding]
                write(pa.record_batch(columns, schema=schema))


def _schema(run: TrainedRun, layer: int, per_residue: bool) -> pa.Schema:
    vector = pa.list_(pa.float32(), run.cell.hidden)
    fields = [
        pa.field("id", pa.string()),
        pa.field("length", pa.int64()),
        pa.field("embedding", pa.list_(vector) if per_residue else vector),
    ]
    return pa.schema(fields, run.facts | {"layer": str(layer)})
