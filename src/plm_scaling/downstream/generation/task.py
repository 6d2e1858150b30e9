"""The task `generation`: what proteins a causal model makes, beside natural and shuffled ones."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import write_json
from plm_scaling.common.tables import table_writer
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.generation.judge import Judge
from plm_scaling.downstream.generation.rows import Row
from plm_scaling.downstream.read import TEST, TRAIN
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset
from plm_scaling.inference.generation.generate import generate_fasta
from plm_scaling.inference.generation.options import Sampling
from plm_scaling.inference.models.open import open_model
from plm_scaling.sources.read.fasta import read_fasta

ITEMS = pa.schema(
    [("id", pa.string()), ("split", pa.string()), ("sequence", pa.string()), ("group", pa.string())]
)
PROTOCOL = "sampled"


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write items.parquet, counts.tsv and task.json of a dataset (see `Task.prepare`).

    The first file holds held-out proteins (FASTA, split `test`), the others the training sequences
    of the models (`train`).
    """
    if len(files) < 2:
        raise DownstreamError(
            f"{row.dataset}: give two files in the table, held-out proteins and, after them, the "
            "training sequences"
        )
    counts = Counts("downstream")
    with pq.ParquetWriter(out / "items.parquet", ITEMS, compression="zstd") as write:
        for number, file in enumerate(files):
            split = TRAIN if number else TEST
            for records in read_fasta(file):
                for one in records.rejected:
                    counts.add(row.dataset, "in", 1, one.residues)
                    counts.add(row.dataset, one.reason, 1, one.residues)
                residues = sum(map(len, records.sequences))
                for reason in ("in", "kept"):
                    counts.add(row.dataset, reason, len(records.ids), residues)
                ids = [name.decode() for name in records.ids]
                texts = [sequence.decode() for sequence in records.sequences]
                columns = {"id": ids, "split": split, "sequence": texts, "group": ids}
                write.write_table(
                    pa.Table.from_pandas(pd.DataFrame(columns), ITEMS, preserve_index=False)
                )
    counts.write(out / "counts.tsv")
    write_json(out / "task.json", {"task": row.task, "dataset": row.dataset})


def evaluate(
    model_name: str, items: Path, settings: TaskSettings, out: Path, threads: int, seed: int
) -> list[Score]:
    """Make proteins as `settings.generation` says, and judge them (see `Judge`).

    The table `out` holds them: id, sequence, ended. The floor of a measure is its value for
    shuffled natural proteins, the reference that for natural ones. Without start token first
    residues are drawn from those of the training sequences. An MLM makes none: its one score is
    null.
    """
    with open_model(model_name, threads) as model:
        facts, causal = model.facts, model.objective == "clm"
        begins = model.alphabet.start is not None or bool(model.alphabet.row_prefix)
    schema = pa.schema(
        [("id", pa.string()), ("sequence", pa.string()), ("ended", pa.bool_())], facts
    )
    if not causal:
        with table_writer(out, schema):
            pass
        note = "an MLM fills masks and makes no proteins"
        return [Score(PROTOCOL, "proteins", None, None, 0, 0, note=note)]
    with TemporaryDirectory(prefix="plm-scaling-") as folder:
        train, natural = (Path(folder) / f"{split}.fasta" for split in (TRAIN, TEST))
        for file, split in ((train, TRAIN), (natural, TEST)):
            _write_fasta(items, split, file)
        fasta = Path(folder) / "new.fasta"
        sampling = Sampling(**settings.generation.model_dump(), seed=seed)
        generate_fasta(model_name, fasta, sampling, [] if begins else [train], threads)
        judge = Judge([train], [natural], seed=seed, threads=threads, skip_bad=True)
        rows = judge.table(fasta, Path(folder) / "judged.tsv")
        _write_proteins(fasta, schema, out)
    return [_score(row, sampling.number) for row in rows]


def _write_fasta(items: Path, split: str, out: Path) -> None:
    file = pq.ParquetFile(items)
    with out.open("w") as text:
        for batch in file.iter_batches(columns=["id", "split", "sequence"]):
            for one in batch.filter(pc.equal(batch["split"], split)).to_pylist():
                text.write(f">{one['id']}\n{one['sequence']}\n")


def _write_proteins(fasta: Path, schema: pa.Schema, out: Path) -> None:
    lines = fasta.read_text().splitlines()
    heads = [line.removeprefix(">").split(" ended=") for line in lines[::2]]
    names, ended = zip(*heads, strict=True)
    columns = [pa.array(names), pa.array(lines[1::2]), pa.array([one == "true" for one in ended])]
    with table_writer(out, schema) as write:
        write(pa.record_batch(columns, schema=schema))


def _score(row: Row, number: int) -> Score:
    return Score(
        protocol=PROTOCOL,
        metric=row.measure,
        value=row.generated,
        standard_error=row.generated_error,
        n_items=number,
        n_groups=number,
        floor=row.shuffled,
        reference=row.natural,
        note=row.note,
    )
