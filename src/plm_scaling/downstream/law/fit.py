"""The law file of an objective's scores: a verdict, an equation and its checks for each series."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling import __version__
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import sha256_of
from plm_scaling.downstream.law.checks import (
    AtBudget,
    HeldOutScores,
    SizeAtEqualLoss,
    at_budgets,
    held_out_budget,
    losses_at_budgets,
    size_at_equal_loss,
)
from plm_scaling.downstream.law.compare import EqualCompute, at_equal_compute
from plm_scaling.downstream.law.forms import Form, choose_form
from plm_scaling.downstream.law.resample import Fitted, fit_resampled, scale_of
from plm_scaling.downstream.law.series import Series, series_of, why_not_used
from plm_scaling.downstream.law.verdict import (
    Verdict,
    decide,
    only_noise,
    share_peaked,
    too_little,
)
from plm_scaling.laws.details import Bootstrap, NotAvailable
from plm_scaling.laws.result import Equation, LawResult, read_law, write_law
from plm_scaling.laws.selection import selection
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.intervals import Interval, check_settings
from plm_scaling.laws.status import Check, Evidence
from plm_scaling.laws.text import law_sentence
from plm_scaling.runs.scores import CELL, JUDGED, read_scores
from plm_scaling.study.laws import OF_SCORES

logger = logging.getLogger("plm_scaling")

METHOD = (
    "least squares of the score on the held-out loss: constant, line, exponential from the score "
    "of untrained cells, parabola; the simplest whose error at cells left out is above the least "
    "by at most a standard error; intervals by resampling cells, with the errors of the items"
)
CURVE_POINTS = 33


class CurvePoint(TypedDict):
    """The law at one loss."""

    loss: float
    score: float
    score_interval: Interval | None


class SeriesRow(TypedDict):
    """One series: dataset, protocol and metric of an objective."""

    name: str
    dataset: str
    protocol: str
    metric: str
    cells: int
    verdict: Verdict
    why: str
    form: Form | None
    left_out_rms: dict[str, float]
    change: float | None
    """What a line changes from the highest to the lowest loss."""
    change_interval: Interval | None
    improves: bool | None
    """Whether the score is better at lower loss; None where it is not monotone."""
    peak_share: float | None
    """The share of the resamples in which a parabola is best inside the losses."""
    begins: float | None
    """The score of untrained cells."""
    standard_error: float
    size_at_equal_loss: SizeAtEqualLoss | NotAvailable | None
    held_out: HeldOutScores | NotAvailable | None
    at_budget: list[AtBudget]
    curve: list[CurvePoint]


class Details(TypedDict):
    """The tables of a law of scores."""

    headline: str
    series: list[SeriesRow]
    at_equal_compute: list[EqualCompute] | NotAvailable
    bootstrap: Bootstrap


def fit_downstream(
    scores: Path,
    objective: str,
    out: Path,
    study: str = "own",
    frontier: Path | None = None,
    settings: Settings = DEFAULT,
) -> LawResult[Details]:
    """`fit_scores` of a file; writes the law file, too.

    Args:
        scores: table of scores (scores.csv)
        objective: clm or mlm
        out: the law file (JSON)
        study: the study's name, kept in the law file
        frontier: law of the objective's runs that gives the loss at a compute
    """
    table = read_scores(scores)
    of_runs = None if frontier is None else read_law(frontier)
    result = fit_scores(table, objective, of_runs, settings)
    result.study, result.version = study, __version__
    result.data = {"scores": str(scores), "sha256": sha256_of(scores)}
    write_law(out, result)
    logger.debug("[downstream] %s", law_sentence(result))
    return result


def fit_scores(
    scores: pd.DataFrame,
    objective: str,
    frontier: LawResult | None = None,
    settings: Settings = DEFAULT,
) -> LawResult[Details]:
    """The law of the scores of an objective's cells; `frontier` gives scores at budgets. Raises
    DownstreamError if no cell of the objective was scored, LawError for settings."""
    check_settings(settings.bootstrap, settings.level)
    found = series_of(scores, objective)
    own = scores[(scores["objective"] == objective) & (scores["kind"] == CELL)]
    own = own[own["task"] != JUDGED]
    if own.empty:
        raise DownstreamError(
            f"no {objective} cell has scores; evaluate cells (`snakemake downstream`)"
        )
    rows: list[SeriesRow] = []
    equations: dict[str, Equation] = {}
    warnings: list[str] = []
    losses = losses_at_budgets(frontier, float(own["flops"].max()))
    for series in found:
        row, fitted = _row(series, losses, settings)
        rows.append(row)
        if fitted is not None:
            equations[series.name] = fitted.equation()
        warnings += _warnings(row)
    warnings = [*_not_identified(rows), *warnings]
    identified = [row for row in rows if row["verdict"] != Verdict.NOT_IDENTIFIED]
    evidence: Evidence = {}
    if not identified:
        first = rows[0]["why"] if rows else "no cell has both a loss and a score that is defined"
        why_not = f"no series of scores says how it follows the loss: {first}"
        evidence = {"undetermined": [why_not]}
    why = why_not_used(own)
    unusable = own.assign(why=why)[why != ""].drop_duplicates("model")
    result = LawResult(
        law=OF_SCORES,
        method=METHOD,
        n_points=max((row["cells"] for row in rows), default=0),
        equations=equations,
        objective_value=None,
        residual_rms=None,
        warnings=warnings,
        details=Details(
            headline=_headline(rows),
            series=rows,
            at_equal_compute=at_equal_compute(scores),
            bootstrap={
                "kind": "cells, and errors of the items",
                "resamples": settings.bootstrap,
                "seed": settings.seed,
            },
        ),
        evidence=evidence,
        objective=objective,
    )
    result.excluded = [
        {"run_id": str(model), "why": str(said)}
        for model, said in zip(unusable["model"], unusable["why"], strict=True)
    ]
    result.selection = selection(own["model"].nunique(), [row["why"] for row in result.excluded])
    return result


def _row(
    series: Series, losses: pd.DataFrame, settings: Settings
) -> tuple[SeriesRow, Fitted | None]:
    """The row of a series, and its law unless its cells are too few."""
    row: SeriesRow = {
        "name": series.name,
        "dataset": series.dataset,
        "protocol": series.protocol,
        "metric": series.metric,
        "cells": len(series.loss),
        "verdict": Verdict.NOT_IDENTIFIED,
        "why": too_little(series),
        "form": None,
        "left_out_rms": {},
        "change": None,
        "change_interval": None,
        "improves": None,
        "peak_share": None,
        "begins": None if series.begins is None else float(series.begins.mean()),
        "standard_error": float(np.median(series.error)),
        "size_at_equal_loss": None,
        "held_out": None,
        "at_budget": [],
        "curve": [],
    }
    if row["why"]:
        return row, None
    middle, half = scale_of(series.loss)
    chosen, errors = choose_form((series.loss - middle) / half, series.score, series.begins)
    line, parabola = (fit_resampled(series, form, settings) for form in (Form.LINE, Form.PARABOLA))
    # the lowest loss is at x = -1
    change = float(-2 * line.own.coefficients[0, 1])
    row["change"] = change
    row["change_interval"] = line.interval(-2 * line.drawn.coefficients[:, 1])
    row["peak_share"] = share_peaked(parabola.drawn, series.better) if settings.bootstrap else None
    peaked = row["peak_share"] or 0.0
    noise = only_noise(series, settings.level)
    judged = decide(chosen, errors, row["change_interval"], peaked, noise, settings.level)
    fitted = fit_resampled(series, judged.form, settings)
    row["verdict"], row["form"], row["why"] = judged.verdict, judged.form, judged.why
    row["left_out_rms"] = {str(form): error for form, error in errors.items()}
    if judged.verdict == Verdict.MONOTONE:
        row["improves"] = series.better * change > 0
    row["size_at_equal_loss"] = size_at_equal_loss(fitted)
    row["held_out"] = held_out_budget(series, settings)
    if judged.verdict != Verdict.NOT_IDENTIFIED:
        row["at_budget"] = at_budgets(fitted, losses)
    places = np.linspace(series.loss.max(), series.loss.min(), CURVE_POINTS)
    value, drawn = fitted.at(places)
    row["curve"] = [
        {"loss": float(loss), "score": float(v), "score_interval": fitted.interval(own)}
        for loss, v, own in zip(places, value, drawn.T, strict=True)
    ]
    return row, fitted


def _headline(rows: list[SeriesRow]) -> str:
    """'12 series of scores: 8 monotone, 3 flat, 1 peaked'."""
    if not rows:
        return "no series of scores"
    counts = {v: sum(row["verdict"] == v for row in rows) for v in Verdict}
    said = [f"{n} {v.replace('_', ' ')}" for v, n in counts.items() if n]
    return f"{len(rows)} series of scores: {', '.join(said)}"


def _not_identified(rows: list[SeriesRow]) -> list[str]:
    """The series that say nothing: those for the same reason together."""
    of_reason: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] == Verdict.NOT_IDENTIFIED:
            of_reason.setdefault(row["why"], []).append(row["name"])
    return [
        f"{names[0] if len(names) == 1 else f'{len(names)} series'}: not identified: {why}"
        for why, names in of_reason.items()
    ]


def _warnings(row: SeriesRow) -> list[str]:
    """What is to be known of a series before its numbers are used."""
    said = []
    if row["improves"] is False:
        said.append(f"{row['name']}: worse at lower loss")
    held = row["held_out"]
    known = held["scores"] if held is not None and held["status"] == Check.DONE else []
    missed = [score for score in known if score["inside"] is False]
    if missed:
        said.append(
            f"{row['name']}: the law of the smaller budgets misses {len(missed)} of the scores at "
            f"the largest, such as {missed[0]['measured']:.3g} where it predicts "
            f"{missed[0]['predicted']:.3g}"
        )
    return said
