"""The task `fitness`: assays of mutants, prepared once, and ranked by each model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import Progress
from plm_scaling.common.tables import table_writer
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.fitness.assays import read_assays, read_reference
from plm_scaling.downstream.fitness.protocols import protocols_of
from plm_scaling.downstream.fitness.scoring import scores_of
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import INDELS, Dataset
from plm_scaling.inference.models.describe import describe

SUBSTITUTIONS = "proteingym_substitutions"
ITEMS = pa.schema(
    {
        **{"id": pa.string(), "split": pa.string(), "group": pa.string()},
        **{"sequence": pa.string(), "mutant": pa.string(), "target": pa.float64()},
        **{"fit": pa.bool_(), "blosum62": pa.float64(), "site_independent": pa.float64()},
    }
)


def prepare(files: list[Path], row: Dataset, out: Path) -> None:
    """Write the folder `out` of a dataset in ProteinGym's form.

    `files`: the table of assays (.csv), the assays (.zip) and, of some, alignments (.a2m, .a2m.gz)
    under the names that the table's column MSA_filename gives. items.parquet has a row group per
    assay, proteins.parquet its wild type. See `read_assays` of what is dropped and refused.
    """
    if row.form not in (SUBSTITUTIONS, INDELS):
        raise DownstreamError(
            f"{row.dataset}: form {row.form!r}; must be {SUBSTITUTIONS} or {INDELS}"
        )
    reference = read_reference(_only(files, ".csv", row))
    alignments = {file.name.removesuffix(".gz"): file for file in files if ".a2m" in file.suffixes}
    indels, proteins, counts = row.form == INDELS, [], Counts("downstream")
    archive = _only(files, ".zip", row)
    with pq.ParquetWriter(out / "items.parquet", ITEMS, compression="zstd") as write:
        for assay, items in read_assays(archive, reference, indels, alignments, counts):
            name = assay["DMS_id"]
            columns = {"id": name + "/" + items["mutant"].astype(str), "split": "test"}
            items = items.assign(group=name, **columns).reindex(columns=ITEMS.names)
            write.write_table(pa.Table.from_pandas(items, ITEMS, preserve_index=False))
            kind = str(assay["coarse_selection_type"])
            proteins.append((name, assay["target_seq"], str(assay["UniProt_ID"]), kind))
    names = ["group", "sequence", "protein", "type"]
    pd.DataFrame(proteins, columns=names).to_parquet(out / "proteins.parquet")
    counts.write(out / "counts.tsv")
    write_json(out / "task.json", {"task": row.task, "form": row.form, "assays": len(proteins)})


def evaluate(
    model_name: str, items: Path, settings: TaskSettings, out: Path, threads: int, seed: int
) -> list[Score]:
    """Rank the mutants of each assay; see `zero_shot` of how and `scoring` of the scores."""
    folder = items.parent
    indels = read_json(folder / "task.json")["form"] == INDELS
    protocols = protocols_of(describe(model_name)[1].objective, indels)
    # PyTorch, which a job that only prepares would wait for, and who asks for what cannot be.
    from plm_scaling.downstream.fitness.zero_shot import ZeroShot
    from plm_scaling.inference.models.open import open_model

    proteins = pd.read_parquet(folder / "proteins.parquet").set_index("group")
    file = pq.ParquetFile(items)
    groups = [file.read_row_group(i, ["group"])[0][0].as_py() for i in range(file.num_row_groups)]
    progress = Progress("fitness", file.metadata.num_rows, "mutants")
    assays = []
    with open_model(model_name, threads) as model:
        scorer = ZeroShot(model)
        kept = [field for field in ITEMS if field.name not in ("sequence", "split")]
        schema = pa.schema([*kept, *((name, pa.float64()) for name in protocols)], model.facts)
        with table_writer(out, schema) as write:
            # Assays of one protein follow each other, so that its marginals are computed once.
            for index in np.argsort(proteins.loc[groups, "sequence"], kind="stable"):
                table = file.read_row_group(int(index)).to_pandas()
                found = scorer.scores(
                    proteins.loc[groups[index], "sequence"],
                    table["mutant"].tolist(),
                    table["sequence"].tolist(),
                    indels,
                )
                table = table.assign(**found)[schema.names]
                for batch in pa.Table.from_pandas(table, schema, preserve_index=False).to_batches():
                    write(batch)
                assays.append(table.drop(columns=["id", "mutant"]))
                progress.add(len(table))
    return scores_of(assays, proteins, protocols, seed)


def _only(files: list[Path], suffix: str, row: Dataset) -> Path:
    found = [file for file in files if file.suffix == suffix]
    if len(found) != 1:
        raise DownstreamError(
            f"{row.dataset}: {len(found)} files end in {suffix}; the table must name one"
        )
    return found[0]
