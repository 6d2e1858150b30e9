"""Gather the scores of all models on all datasets of a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.files import atomic, read_json
from plm_scaling.common.progress import logger
from plm_scaling.downstream.models import FACTS
from plm_scaling.runs.scores import CELL, JUDGED
from plm_scaling.runs.tables import final_losses, read_cell_curve
from plm_scaling.study.laws import OF_SCORES

OF_SCORE = (
    *("protocol", "metric", "value", "standard_error", "floor", "reference"),
    *("n_items", "n_groups", "layer"),
)
COLUMNS = ["model", *FACTS, "task", "dataset", *OF_SCORE, "seed", "exposed", "note"]
GROUP_COLUMNS = [
    *("model", "kind", "objective", "task", "dataset", "group", *OF_SCORE[:5], "n_items"),
    *("identity", "coverage", "exposed", "note"),
]


def collect_downstream(
    records: list[Path],
    out: Path,
    out_groups: Path,
    runs: Path,
    final_evaluations: int,
    exposures: Sequence[Path] = (),
    laws: Path | None = None,
) -> None:
    """Write scores.csv, a row for each model, dataset, protocol and metric, and groups.csv, the
    same for each assay.

    A model is called as the folder of its record. What is not known or not defined is empty.
    `exposed` is the share of the dataset's test proteins with a homologue in the study's training
    set, and in groups.csv whether the assay's has one, with the `identity` and `coverage` of its
    best alignment; both are of the study's cells alone. `loss` is as in runs.csv, the mean of the
    last `final_evaluations` validation losses, of the cells that have a curve below `runs`; of
    others as in their records.

    Args:
        records: JSON files that evaluate_model.py wrote, {model}/{dataset}.json
        out: scores.csv
        out_groups: groups.csv
        runs: folder of {cell}/curve.csv
        final_evaluations: how many of the last validation losses are averaged
        exposures: tables that expose_task.py wrote, {dataset}/exposure.{data}.parquet
        laws: folder of law files; laws of scores of an objective that has none any more are removed
    """
    exposed = {path.parent.name: pd.read_parquet(path).set_index("id") for path in exposures}
    rows: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for path in records:
        record = read_json(path)
        table = exposed.get(record["dataset"])
        own = table if record["model"]["kind"] == "cell" else None
        common = {
            **record["model"],
            **_loss_of(runs / path.parent.name / "curve.csv", final_evaluations),
            "model": path.parent.name,
            **{key: record[key] for key in ("task", "dataset", "seed")},
        }
        for score in record["scores"]:
            if score["group"]:
                known = {} if own is None else own.loc[score["group"]].to_dict()
                groups.append(common | score | known)
            else:
                share = None if own is None else float(own["exposed"].mean())
                rows.append(common | score | {"exposed": share})
    for path, columns, found in ((out, COLUMNS, rows), (out_groups, GROUP_COLUMNS, groups)):
        with atomic(path) as temporary:
            pd.DataFrame(found).reindex(columns=columns).to_csv(temporary, index=False)
    if laws is not None:
        _remove_former(laws, rows)
    logger.info("[downstream] %d scores of %d evaluations: %s", len(rows), len(records), out)


def _remove_former(laws: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Remove the laws of objectives of which no cell has scores on a benchmark among `rows`."""
    cells = [row for row in rows if row["kind"] == CELL and row["task"] != JUDGED]
    scored = {laws / f"{row['objective']}.{OF_SCORES}.json" for row in cells}
    for path in {*laws.glob(f"*.{OF_SCORES}.json")} - scored:
        path.unlink()


def _loss_of(curve: Path, final_evaluations: int) -> dict[str, float]:
    if not curve.is_file():
        return {}
    losses = final_losses(read_cell_curve(curve), "valid", final_evaluations)
    return {"loss": float(losses.mean())} if len(losses) else {}
