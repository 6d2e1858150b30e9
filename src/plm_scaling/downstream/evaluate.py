"""Evaluate one model on one dataset: predictions of the items, and the scores beside them."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import read_json, remove, sha256_of, write_json
from plm_scaling.common.progress import logger
from plm_scaling.common.tables import check_table, convert_parquet
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream import STAGE_VERSION
from plm_scaling.downstream.datasets import PREPARED
from plm_scaling.downstream.models import facts_of
from plm_scaling.downstream.tasks import TASKS
from plm_scaling.inference.models.describe import describe


def evaluate_model(
    model: str,
    data: Path,
    settings: TaskSettings,
    seed: int,
    threads: int,
    out: Path,
    exposure: Path | None = None,
) -> None:
    """Write the predictions of a model to the table `out`, and beside it, ending in .json, its
    scores with what they depend on.

    The table is written by the task; what it says of the model (`Model.facts`) is its metadata.
    Raises `DownstreamError` where there is no such dataset or the model cannot do the task.

    Args:
        model: a run folder, or the id of a cell below results/*/runs
        data: folder of the prepared dataset
        settings: of the block downstream of the config
        seed: of resampling and of whatever else is random
        threads: CPU threads
        out: the table of predictions; .parquet, .csv, .tsv or .arrow
        exposure: table of expose_task.py, for tasks whose scores are by identity to training
    """
    check_table(out)
    facts = _task_of(data)
    describe(model)
    begin = time.monotonic()
    items = data / "items.parquet"
    predictions = out if out.suffix == ".parquet" else out.with_name(f".{out.name}.parquet")
    scores = TASKS[facts["task"]].evaluate(
        model, items, settings, predictions, threads, seed, exposure
    )
    # The first score stands for the dataset in figures and laws.
    scores.sort(key=lambda score: score.metric != facts["metric"])
    metadata = pq.read_schema(predictions).metadata or {}
    if predictions != out:
        convert_parquet(predictions, out)
        remove(predictions)
    from plm_scaling.train.output.record import versions  # PyTorch

    told = {key.decode(): value.decode() for key, value in metadata.items()}
    record: dict[str, Any] = {
        "model": facts_of(model, told),
        "dataset": data.name,
        "task": facts["task"],
        "seed": seed,
        "seconds": round(time.monotonic() - begin, 3),
        "weights_sha256": told.get("weights"),
        "items_sha256": sha256_of(items),
        "versions": versions("cpu") | {"downstream stage": str(STAGE_VERSION)},
        "settings": settings.model_dump(),
        "scores": [asdict(score) for score in scores],
    }
    write_json(out.with_suffix(".json"), record)
    logger.info("[downstream] %s on %s: %s", model, data.name, out.with_suffix(".json"))


def _task_of(data: Path) -> dict[str, Any]:
    """What task.json says of a prepared dataset whose files are there and whole. Raises
    `DownstreamError`."""
    path = data / "task.json"
    ours = data.parent == PREPARED  # others were given, and nothing prepares them
    remedy = f"remove {data}, so that it is prepared again" if ours else "give another --data"
    try:
        facts = read_json(path)
        wrong = "" if facts["metric"] and facts["task"] in TASKS else f"of task {facts['task']!r}"
    except FileNotFoundError:
        raise DownstreamError(
            f"{data} is no prepared dataset: there is no task.json; {remedy}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        wrong = f"damaged ({type(error).__name__}: {error})"
    if wrong:
        raise DownstreamError(f"{path} is {wrong}; {remedy}")
    for name in TASKS[facts["task"]].tables:
        try:
            pq.read_schema(data / name)
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            why = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
            raise DownstreamError(f"{data / name} is {why}; {remedy}") from error
    return {**facts}
