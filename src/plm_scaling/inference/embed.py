"""Embeddings of the proteins of a FASTA file, as a table in its order."""

from pathlib import Path

import pyarrow as pa

from plm_scaling.common.progress import Progress
from plm_scaling.common.tables import check_table, table_writer
from plm_scaling.inference.fasta import Lengths, read_chunks, survey
from plm_scaling.inference.models.describe import describe
from plm_scaling.inference.tables import lists, vectors
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, readable

CHUNK_VALUES = 1 << 26  # of the hidden states of a chunk, at most, unless a sequence has more


def embed_fasta(
    name: str,
    fasta: list[Path],
    out: Path,
    layer: int,
    per_residue: bool,
    threads: int,
    skip_bad: bool = False,
) -> Survey:
    """Write the table of embeddings of every protein in the files `fasta` by the model `name`.

    Columns: id, length, and embedding: float32, of the model's width, the mean over the residues,
    or with `per_residue` a list of one for each residue. See `Survey` of records that cannot be
    used.
    """
    check_table(out)
    describe(name)[1].layer_number(layer)
    found = Survey(out, skip_bad)
    with readable(fasta, "fasta") as files:
        lengths = survey("embed", files, found)
        _write(name, files, lengths, out, layer, per_residue, threads)
    return found


def _write(
    name: str,
    files: list[Path],
    lengths: Lengths,
    out: Path,
    layer: int,
    per_residue: bool,
    threads: int,
) -> None:
    # PyTorch, which takes seconds: nothing that can be refused before is refused after it.
    from plm_scaling.inference.embedder import Embedder
    from plm_scaling.inference.models.open import open_model

    with open_model(name, threads) as model:
        embedder = Embedder(model, layer)
        residues = CHUNK_VALUES // model.hidden
        progress = Progress("embed", lengths.total(embedder.work), "tokens")
        vector = pa.list_(pa.float32(), model.hidden)
        fields = [
            pa.field("id", pa.string()),
            pa.field("length", pa.int64()),
            pa.field("embedding", pa.list_(vector) if per_residue else vector),
        ]
        schema = pa.schema(fields, model.facts | {"layer": str(embedder.layer)})
        with table_writer(out, schema) as write:
            for chunk in read_chunks(read_fasta(files), residues):
                if per_residue:
                    states = embedder.residues(chunk.entries, chunk.lengths, progress.add)
                    embedding = lists(vectors(states), chunk.lengths)
                else:
                    means = embedder.means(chunk.entries, chunk.lengths, progress.add)
                    embedding = vectors(means)
                columns = [pa.array(chunk.ids), pa.array(chunk.lengths), embedding]
                write(pa.record_batch(columns, schema=schema))
