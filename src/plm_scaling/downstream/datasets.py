"""Which datasets there are: those of the table, and those that a config declares itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import read_json
from plm_scaling.dedup import DOWNSTREAM, KEPT_OUT
from plm_scaling.downstream.table import Dataset, own_dataset, read_datasets
from plm_scaling.downstream.tasks import TASKS
from plm_scaling.runs.scores import JUDGED

PREPARED = Path("data/downstream")
EARLIER_TESTS = "test.fasta"
"""Test proteins in the folder of a prepared dataset, which earlier versions wrote and configs of
theirs name as a source."""
OF_TESTS = "_tests"
"""What follows a dataset's name in that of its test proteins as a source (`split.downstream`)."""


def chosen_datasets(
    table: Path, own: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Dataset]:
    """All datasets by name, those of the table and a config's own; raises `DownstreamError` if one
    of `names` is not among them, or one's own has a name of the table or an unknown task."""
    datasets = read_datasets(table)
    for name, columns in own.items():
        if name == JUDGED:
            raise DownstreamError(
                f"downstream.own.{name}: what models make has this name; take another"
            )
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


def kept_out(
    asked: Sequence[str] | None,
    datasets: Mapping[str, Dataset],
    names: Sequence[str],
    data: Path,
) -> list[str]:
    """The sources whose homologues are kept out of training: those that `split.downstream` asks
    for. If it is null, those that the split in the folder `data` was last made with, so that data
    which are there stay as they are, also when it is run again; before there are any, the test
    proteins of the structures among the datasets `names`.

    Raises `DownstreamError` if data of an earlier version do not say which.
    """
    if asked is not None:
        return [*asked]
    record, report = data / KEPT_OUT, data / "contamination.json"
    if record.is_file():
        return [*read_json(record)]
    if report.is_file() and DOWNSTREAM not in read_json(report)["held_out"]:
        return []
    if report.is_file() or (data / "split/tool.json").is_file():
        raise DownstreamError(
            f"{record} is missing, because an earlier version made these data: name the test sets "
            "that were kept out of training in split.downstream, or [] for none"
        )
    return [f"{name}{OF_TESTS}" for name in names if TASKS[datasets[name].task].structure]


def tests_of(name: str) -> Path:
    """The FASTA file of a dataset's test proteins. It is beside the prepared dataset, a folder that
    is replaced as a whole."""
    return PREPARED / f"{name}.tests.fasta"


def test_files(sources: Sequence[str], datasets: Mapping[str, Dataset]) -> dict[str, Path]:
    """Of the sources that are test proteins of a dataset, the FASTA file of these; also of one that
    is no more among the datasets but was prepared."""
    files = {
        name: tests_of(name.removesuffix(OF_TESTS)) for name in sources if name.endswith(OF_TESTS)
    }
    return {
        name: file
        for name, file in files.items()
        if name.removesuffix(OF_TESTS) in datasets or file.is_file()
    }


def advice(name: str, kept: Sequence[str]) -> str:
    """What to set so that training has no homologues of a dataset's test proteins either."""
    names = ", ".join((*kept, f"{name}{OF_TESTS}"))
    return (
        f"{name}: training may have homologues of its test proteins, because the data were made "
        "without looking at it (scores.csv says how many, as `exposed`). To keep them out, which "
        f"makes other data and cells, set split.downstream: [{names}]"
    )
