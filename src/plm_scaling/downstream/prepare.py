"""A dataset's files, fetched and verified as sources are, and made into items once."""

import shutil
from pathlib import Path

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic
from plm_scaling.common.progress import logger
from plm_scaling.downstream.datasets import EARLIER_TESTS
from plm_scaling.downstream.table import find_dataset
from plm_scaling.downstream.tasks import TASKS
from plm_scaling.sources.fetch.raw_files import verify_row
from plm_scaling.sources.fetch.source import fetch_row
from plm_scaling.sources.table import Source
from plm_scaling.sources.verify_files import verify_row_files


def fetch_task(table: Path, dataset: str, file: str, out: Path) -> None:
    """Bring a file of a dataset to `out` and verify it; see `fetch_source`.

    Args:
        table: resources/downstream.tsv
        dataset: a name of the table's column dataset
        file: a file name of its column file
        out: where the file goes
    """
    rows = {row.file: row for row in find_dataset(table, dataset).files}
    fetch_row(rows[file], table, out)


def prepare_task(table: Path, dataset: str, raw: Path, out: Path) -> None:
    """Make the folder `out` of a dataset: items.parquet, counts.tsv, task.json.

    Raises `SourceError` for a file that is not what the table says, `DownstreamError` for one that
    cannot be read as its form promises.

    Args:
        table: resources/downstream.tsv
        dataset: a name of the table's column dataset, or in JSON what a config declares
        raw: folder of the fetched files
        out: folder to make
    """
    row = find_dataset(table, dataset)
    if row.task not in TASKS:
        raise DownstreamError(
            f"{table}, dataset {dataset}: unknown task {row.task!r}; there are {', '.join(TASKS)}"
        )
    files = [_verified(table, file, raw) for file in row.files]
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        TASKS[row.task].prepare(files, row, folder)
        if (out / EARLIER_TESTS).is_file():  # a study's data may be made with it
            shutil.copy2(out / EARLIER_TESTS, folder)
    logger.info("[downstream] %s is prepared: %s", row.dataset, out)


def fetch_and_prepare(table: Path, dataset: str, raw: Path, out: Path) -> None:
    """The same with what has to be fetched before."""
    for file in find_dataset(table, dataset).files:
        if not file.path and not (raw / file.file).exists():
            fetch_row(file, table, raw / file.file)
    prepare_task(table, dataset, raw, out)


def _verified(table: Path, file: Source, raw: Path) -> Path:
    if not file.path:
        verify_row(file, table, raw / file.file)
        return raw / file.file
    path = Path(file.path)
    if not path.is_file():
        raise DownstreamError(f"{table}, dataset {file.name}: {path} does not exist; put it there")
    verify_row_files(file, [path])
    return path
