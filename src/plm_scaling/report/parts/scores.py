"""What lower loss is good for: the report's part on scores and their laws."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.progress import many, short_number
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.status import Check
from plm_scaling.report.html.template import flagged
from plm_scaling.report.parts.generated import NOTHING, generated_part
from plm_scaling.report.parts.tables import DASH, equation_text, text
from plm_scaling.runs.scores import CELL, KEY, UNTRAINED, main_scores, read_scores

MARKS = (
    "a mark per model; the darkest is the cell of lowest loss, grey an untrained one, the bar the "
    "baseline."
)
CAPTIONS = {
    "downstream_loss": "Scores against held-out loss, with the law of each objective and its "
    "interval; pale where it is not identified. Bars are standard errors over items. Dotted: the "
    "baseline, and sparse dots: cells before training.",
    "downstream_compute": "Scores against training compute; the line goes through the cells of "
    "lowest loss of each budget. Open marks are public models, of other data and scorers.",
    "fitness_assays": f"Fitness by type of assay, {MARKS}",
    "contacts": f"Precision of contacts by range, {MARKS}",
    "generation": "Proteins that causal models made, a mark per model; the darkest is the cell of "
    "lowest loss, grey an untrained one. Black bars: natural proteins; grey bars: those shuffled.",
    "exposure": "Fitness of each assay by the cell of lowest loss, against the best identity of "
    "its wild type to the training set.",
}
NAMED = 3  # series, of those that share a warning
PROTOCOLS = {"llr": "log-likelihood ratio"}
VERDICTS = {
    "monotone": "monotone",
    "peaked": "peaked",
    "flat": "flat",
    "not_identified": "not identified",
}


def scores_part(scores: Path | None, laws: Sequence[Path]) -> dict[str, Any]:
    """What the page shows of scores: sentences, the laws of the main metrics and the scores; empty
    without a table."""
    if scores is None:
        nothing: dict[str, Any] = {name: [] for name in ("sentences", "laws", "scores", "warnings")}
        return nothing | {"generated": NOTHING}
    table = read_scores(scores)
    main = main_scores(table)
    fitted = [read_law(path) for path in laws]
    wanted = {(row["objective"], *(row[k] for k in KEY)) for row in main.to_dict("records")}
    shown = [
        (law, series)
        for law in fitted
        for series in law.details["series"]
        if (law.objective, *(series[k] for k in KEY)) in wanted
    ]
    return {
        "sentences": [_sentence(law, series) for law, series in shown]
        + _floor_sentences(main)
        + _compared(fitted, main),
        "laws": [_law_row(law, series) for law, series in shown],
        "scores": [_score_row(row) for row in main.to_dict("records")],
        "generated": generated_part(table),
        "warnings": [(law.objective.upper(), together(law.warnings)) for law in fitted],
    }


def together(warnings: Sequence[str]) -> list[str]:
    """Warnings ("series: why"), those of several series that say the same as one."""
    alike: dict[str, list[str]] = {}
    for warning in warnings:
        alike.setdefault(warning.partition(": ")[2] or warning, []).append(warning)
    return [own[0] if len(own) == 1 else f"{_names_of(own)}: {said}" for said, own in alike.items()]


def _names_of(warnings: Sequence[str]) -> str:
    """'a, b, c and 4 more', of the series that the warnings begin with."""
    more = f" and {len(warnings) - NAMED} more" if len(warnings) > NAMED else ""
    return ", ".join(warning.partition(": ")[0] for warning in warnings[:NAMED]) + more


def _protocol(name: str) -> str:
    """As text names it: 'log-likelihood ratio, Spearman'."""
    protocol, _, metric = name.partition(" ")
    return f"{PROTOCOLS.get(protocol, protocol.replace('_', ' '))}, {metric.replace('_', ' ')}"


def _sentence(law: LawResult, series: dict[str, Any]) -> str:
    """How a score follows the loss."""
    what = f"{law.objective.upper()}, {series['dataset'].replace('_', ' ')} ({series['metric']})"
    verdict = series["verdict"]
    if verdict == "not_identified":
        return f"{what}: not identified, {series['why']}."
    if verdict == "flat":
        return f"{what}: the score does not follow the loss ({_change(series)} over its range)."
    if verdict == "peaked":
        equation = law.equations[series["name"]].parameters
        return (
            f"{what}: best at {text(equation['L_peak'], '.3f')} nats/token; cells of lower loss "
            "score worse."
        )
    how = "better" if series["improves"] else "worse"
    return f"{what}: {how} at lower loss ({_change(series)} over its range)."


def _change(series: dict[str, Any]) -> str:
    ends = series["change_interval"]
    spread = f", {ends[0]:+.3f} to {ends[1]:+.3f}" if ends else ""
    return f"{series['change']:+.3f}{spread}"


def _floor_sentences(main: pd.DataFrame) -> list[str]:
    """Of the datasets on which every cell is within two standard errors of untrained ones."""
    said = []
    for (dataset, objective), rows in main.groupby(["dataset", "objective"], sort=False):
        begins = rows.loc[rows["kind"] == UNTRAINED, "value"].mean()
        cells = rows[rows["kind"] == CELL]
        near = (cells["value"] - begins).abs() <= 2 * cells["standard_error"]
        if len(cells) and near.all():
            said.append(
                f"{str(objective).upper()}, {str(dataset).replace('_', ' ')}: every cell is within "
                "two standard errors of untrained ones, so training has brought nothing that this "
                "dataset can show."
            )
    return said


def _compared(laws: Sequence[LawResult], main: pd.DataFrame) -> list[str]:
    """CLM against MLM at equal compute, for the main metrics."""
    rows = laws[0].details["at_equal_compute"] if laws else []
    if isinstance(rows, dict):
        return []
    metrics = set(zip(main["dataset"], main["metric"], strict=True))
    said = []
    for row in rows:
        if (row["dataset"], row["metric"]) in metrics:
            error = row["standard_error"]
            spread = f" ± {error:.3f}" if error is not None else ""
            said.append(
                f"CLM less MLM at equal compute, {row['dataset'].replace('_', ' ')} "
                f"({row['metric']}): {row['difference']:+.3f}{spread}, the mean of "
                f"{many(len(row['budgets']), 'budget')}."
            )
    return said


def _law_row(law: LawResult, series: dict[str, Any]) -> dict[str, str]:
    equation = law.equations.get(series["name"])
    verdict = VERDICTS[series["verdict"]]
    size, held = series["size_at_equal_loss"], series["held_out"]
    return {
        "objective": law.objective.upper(),
        "dataset": series["dataset"],
        "metric": _protocol(f"{series['protocol']} {series['metric']}"),
        "cells": str(series["cells"]),
        "verdict": flagged(verdict, series["verdict"] != "not_identified"),
        "law": DASH if equation is None else "; ".join(equation_text(equation)),
        "10× the size, equal loss": _size(size),
        "largest budget held out": _held_out(held),
    }


def _size(size: dict[str, Any] | None) -> str:
    if size is None or size["status"] != Check.DONE:
        return DASH
    ends = size["per_tenfold_interval"]
    spread = f" [{ends[0]:+.3f}, {ends[1]:+.3f}]" if ends else ""
    return f"{size['per_tenfold']:+.3f}{spread}"


def _held_out(held: dict[str, Any] | None) -> str:
    if held is None or held["status"] != Check.DONE:
        return DASH
    known = [score["inside"] for score in held["scores"] if score["inside"] is not None]
    off = sum(s["predicted"] - s["measured"] for s in held["scores"]) / len(held["scores"])
    return f"{off:+.3f} on average, {sum(known)} of {len(known)} inside their intervals"


def _score_row(row: dict[Any, Any]) -> dict[str, str]:
    error = "" if pd.isna(row["standard_error"]) else f" ± {row['standard_error']:.3f}"
    size = row["n_params"]
    return {
        "model": str(row["model"]),
        "kind": str(row["kind"]),
        "objective": str(row["objective"]).upper(),
        "N": DASH if pd.isna(size) else short_number(size),
        "loss": text(row["loss"], ".4f"),
        "dataset": str(row["dataset"]),
        "metric": _protocol(f"{row['protocol']} {row['metric']}"),
        "score": f"{row['value']:.3f}{error}",
        "baseline": text(row["floor"], ".3f"),
    }
