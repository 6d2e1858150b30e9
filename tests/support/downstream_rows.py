"""Rows of the table of datasets, and the settings of the evaluation, for tests of tasks."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq

from plm_scaling.common.files import read_json
from plm_scaling.config.downstream import Contacts, Probe
from plm_scaling.downstream.table import Dataset
from plm_scaling.downstream.tasks import TASKS

SETTINGS = SimpleNamespace(
    contacts=Contacts(train=6, penalty=0.15, separation=6),
    probe=Probe(layers=[-1]),
    lora=None,
)


def prepared(task: str, files: list[Path], out: Path, split: str = "") -> dict:
    """Prepare the files in the folder `out`; what task.json says."""
    out.mkdir()
    TASKS[task].prepare(files, Dataset("tried", task, "", split, "", ()), out)
    return read_json(out / "task.json")


def evaluated(
    task: str,
    model: Path,
    folder: Path,
    settings=SETTINGS,
    seed: int = 1,
    exposure: Path | None = None,
) -> list:
    """The scores of a model on what was prepared; predictions go to predictions.parquet, which says
    of which model they are."""
    out = folder / "predictions.parquet"
    items = folder / "items.parquet"
    scores = TASKS[task].evaluate(str(model), items, settings, out, 1, seed, exposure)
    assert b"weights" in pq.read_schema(out).metadata
    return scores
