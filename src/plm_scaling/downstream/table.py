"""The table of datasets: for each its task, its files with where they are, and how it is scored."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import DownstreamError, SourceError
from plm_scaling.sources.table import Source, file_source

SHIPPED = Path(__file__).with_name("resources") / "downstream.tsv"
INDELS = "proteingym_indels"
"""The form of assays of insertions and deletions."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of the table: the rows of one name, each of a file.

    `form` is how the files are read, by the task; `split` the column or member that says which
    items train, validate and test; `metric` the one that stands for the dataset.
    """

    dataset: str
    task: str
    form: str
    split: str
    metric: str
    files: tuple[Source, ...]

    @property
    def facts(self) -> str:
        """What makes the dataset what it is: when this changes, it must be prepared again."""
        return " ".join((*self.how, *(file.facts for file in self.files)))

    @property
    def how(self) -> tuple[str, str, str, str]:
        """How it is read and scored."""
        return self.task, self.form, self.split, self.metric

    @property
    def only_causal(self) -> bool:
        """Whether it is beyond masked models, which have no likelihood of sequences that are longer
        or shorter than the wild type."""
        return self.form == INDELS


OF_DATASET = [field.name for field in fields(Dataset) if field.name != "files"]
OF_FILE = (
    *("file", "url", "path", "mirror", "bytes", "checksum"),
    *("licence", "citation", "checked", "role"),
)
COLUMNS = [*OF_DATASET, *OF_FILE]


def read_datasets(table: Path) -> dict[str, Dataset]:
    """The datasets of a tab-separated table by name, in its order.

    Raises `DownstreamError` naming the line for columns that are missing or unknown, and for rows
    of one dataset that differ in what it is.
    """
    datasets: dict[str, Dataset] = {}
    with table.open(encoding="utf-8", newline="") as text:
        rows = csv.DictReader(text, delimiter="\t")
        if rows.fieldnames != COLUMNS:
            raise DownstreamError(
                f"{table}, line 1: the columns must be {', '.join(COLUMNS)}, separated by tabs"
            )
        for row in rows:
            where = f"{table}, line {rows.line_num}"
            if None in row or None in row.values():
                raise DownstreamError(f"{where}: give {len(COLUMNS)} fields, one tab between each")
            name = row["dataset"]
            known = datasets.get(name)
            for column in OF_DATASET:
                if known is not None and getattr(known, column) != row[column]:
                    raise DownstreamError(
                        f"{where}, column {column}: differs from the row of {name} before it; rows "
                        "of one dataset are its files, and agree in all else"
                    )
            try:
                file = file_source(name, {key: row[key] for key in OF_FILE}, where, table.parent)
            except SourceError as error:
                raise DownstreamError(str(error)) from error
            before = known.files if known is not None else ()
            what = {key: row[key] for key in OF_DATASET}
            datasets[name] = Dataset(**what, files=(*before, file))
    return datasets


def own_dataset(name: str, columns: Mapping[str, Any]) -> Dataset:
    """A dataset that a config declares (`downstream.own`), by its columns and `files`, whose paths
    are relative to the working directory."""
    where = f"downstream.own.{name}"
    try:
        files = [file_source(name, {"path": path}, where, Path()) for path in columns["files"]]
    except SourceError as error:
        raise DownstreamError(str(error)) from error
    how = {column: columns[column] for column in OF_DATASET if column != "dataset"}
    return Dataset(dataset=name, **how, files=tuple(files))


def find_dataset(table: Path, name: str) -> Dataset:
    """The dataset called `name`, or that which JSON of `{name: columns}` declares, as a config
    does; raises `DownstreamError` listing those there are."""
    if name.startswith("{"):
        ((own, columns),) = json.loads(name).items()
        return own_dataset(own, columns)
    datasets = read_datasets(table)
    if name not in datasets:
        raise DownstreamError(f"{table} has no dataset {name!r}; it has {', '.join(datasets)}")
    return datasets[name]
