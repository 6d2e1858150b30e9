"""Which datasets there are: those of the table, and those that a config declares itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.table import Dataset, own_dataset, read_datasets
from plm_scaling.downstream.tasks import TASKS

TESTS = "test.fasta"
"""The test proteins of a prepared dataset of structures, a source that a config can name."""


def chosen_datasets(
    table: Path, own: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Dataset]:
    """All datasets by name, those of the table and a config's own; raises `DownstreamError` if one
    of `names` is not among them, or one's own has a name of the table or an unknown task."""
    datasets = read_datasets(table)
    for name, columns in own.items():
        if name in datasets:
            raise DownstreamError(f"downstream.own.{name}: {table} has this name; take another")
        if columns["task"] not in TASKS:
            raise DownstreamError(
                f"downstream.own.{name}.task: unknown task {columns['task']!r}; there are "
                f"{', '.join(TASKS)}"
            )
        datasets[name] = own_dataset(name, columns)
    for name in names:
        if name not in datasets:
            raise DownstreamError(
                f"downstream.datasets: neither {table} nor downstream.own has {name!r}; there are "
                f"{', '.join(datasets)}"
            )
    return datasets


def advice(name: str, folder: Path) -> str:
    """What to add to a config so that training has no homologues of a dataset's test proteins."""
    return (
        f"{name}: training may have homologues of its test proteins (scores.csv says so as "
        f"`exposed`). To keep them out, which makes other data and cells, add data.sources: "
        f"{{{name}_tests: {{path: {folder / TESTS}}}}} and split.downstream: [{name}_tests]"
    )
