"""Gather everything a study has made into one self-contained HTML page."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic
from plm_scaling.figures import DATA_FIGURES
from plm_scaling.laws.registry import BOTH
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.report import tables
from plm_scaling.report.findings import comparison, find
from plm_scaling.report.template import inline_figures, render
from plm_scaling.report.versions import versions
from plm_scaling.runs.tables import read_runs

logger = logging.getLogger("plm_scaling")

CAPTIONS = {
    "isoflop": "Validation loss against model size at equal compute. The diamond is the minimum of "
    "the parabola, the bar its interval; a grey cross marks a budget without a usable minimum.",
    "frontier": "Compute-optimal parameters and tokens against compute. Bands are intervals of the "
    "IsoFLOP law; dashed lines leave the range of the runs.",
    "parametric": "Measured loss against the loss fitted by E + A/N^α + B/D^β, and what the fit "
    "leaves over along compute.",
    "loss_contours": "The loss fitted by the parametric law over compute and size; dots are runs "
    "in the colour of their measured loss, lines the best size at each compute by both laws.",
    "learning_curves": "Validation loss while each cell trained, coloured by model size.",
    "corpora": "The lowest loss of each corpus at each budget, on the same held-out sequences; "
    "below, above the best corpus, with dots for single sizes.",
    "recipes": "The lowest loss of each recipe at each budget; below, above the best recipe, with "
    "dots for single sizes.",
    "held_out": "The best run of each corpus and recipe on every held-out set, the same for all: "
    "valid, and ood where newer families are held out, over all sources in proportion, and each "
    "source by itself.",
    "transfer": "What starting from the other objective's weights gains over the same tokens from "
    "scratch, and the compute from scratch for the same loss over all that was spent.",
    "funnel": "Sequences kept and dropped by each stage, summed over the sources.",
    "perplexity": "Perplexity of the training sequences under the reference model, by length; "
    "lines are the thresholds of the filter, which drop the same share of every length.",
    "masking": "Sequences of low complexity among those that the perplexity rule keeps and drops, "
    "found by the filter's own rule and by tantan (a fifth of the residues masked), on a sample.",
}


def make_report(
    study: str,
    runs: Path,
    laws: Sequence[Path],
    figures: Path,
    out: Path,
    config: Path | None = None,
    sources: Path | None = None,
    counts: Sequence[Path] = (),
    examples: Path | None = None,
    contamination: Path | None = None,
    manifest: Path | None = None,
    tool: Path | None = None,
) -> None:
    """Write the page of `study` to `out`.

    `figures` holds {name}.svg; those of the data are shown when `counts` are given. Without data
    files the page says that they were not at hand. Logs where the page is.

    Args:
        study: the study's name, the page's title
        runs: table of runs
        laws: law files
        figures: folder of {name}.svg and .csv
        out: the page (HTML)
        config: the config, for its checksum
        sources: source table, for versions and licences
        counts: counts.tsv by stage
        examples: examples.tsv of the filter
        contamination: report of the homology search (JSON)
        manifest: manifest of the token shards
        tool: versions of outside tools (JSON)
    """
    fitted = [read_law(path) for path in laws]
    if not fitted:
        raise PlmScalingError(f"no law file given for the report of {study}; fit laws first")
    run_table = read_runs(runs)
    finished = run_table[run_table["status"] == "finished"]
    dearest = float(finished["flops"].max()) if len(finished) else None
    status = run_table["status"].value_counts().to_dict()
    funnel = tables.funnel_rows(counts)
    compared = {
        name: by
        for name, by in (("corpora", "corpus"), ("recipes", "recipe"))
        if run_table[by].nunique() > 1
    }
    stale = {"corpora", "recipes", "transfer", *([] if counts else DATA_FIGURES)} - compared.keys()
    stale -= {law.law for law in fitted}
    wanted = [name for name in CAPTIONS if name not in stale]
    page = render(
        Path(__file__).with_name("page.html.j2"),
        study=study,
        findings=find(fitted, dearest),
        comparison=comparison(fitted),
        level=next(iter(fitted[0].equations.values())).level,
        laws=tables.law_rows(fitted),
        methods={law.law: law.method for law in fitted},
        minima=_minima(fitted),
        warnings=[(f"{w.objective.upper()} {w.law}", w.warnings) for w in fitted if w.warnings],
        excluded=_excluded(fitted, run_table),
        status=status,
        n_runs=len(run_table),
        total_flops=float(run_table["flops"].sum()),
        comparisons={
            name: tables.comparison_rows(figures / f"{name}.csv", by)
            for name, by in compared.items()
        },
        sweep=tables.sweep_rows(run_table),
        figures=inline_figures(figures, CAPTIONS, wanted),
        captions=CAPTIONS,
        funnel=funnel,
        examples=tables.example_rows(examples),
        tokens=tables.token_rows(manifest),
        contamination=tables.contamination_sentence(contamination),
        sources=tables.source_rows(sources, {row["source"] for row in funnel}),
        versions=versions(config, tool),
    )
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logger.info("[report] %s", out)


def _minima(laws: Sequence[LawResult]) -> list[dict[str, str]]:
    """The IsoFLOP minima of all objectives, refused ones with the reason."""
    rows = []
    for law in laws:
        for row in law.details.get("minima", []):
            interval = row["n_params_interval"]
            rows.append(
                {
                    "objective": law.objective.upper(),
                    "flops": f"{row['flops']:.3g}",
                    "runs": str(row["n_runs"]),
                    "n_params": number(row["n_params"]),
                    "interval": " to ".join(map(number, interval)) if interval else tables.DASH,
                    "tokens": number(row["tokens"]),
                    "loss": tables.DASH if row["loss"] is None else f"{row['loss']:.4f}",
                    "note": row["reason"] or "accepted",
                }
            )
    return rows


def number(value: float | None) -> str:
    return tables.DASH if value is None else tables.short_number(value)


def _excluded(laws: Sequence[LawResult], runs: pd.DataFrame) -> dict[str, str]:
    """Runs that no law of their objective used, with what the first says of them."""
    said = [(law.objective, {row["run_id"]: row["why"] for row in law.excluded}) for law in laws]
    excluded = {}
    for run, objective in zip(runs["run_id"], runs["objective"], strict=True):
        own = [why for of, why in said if of in (objective, BOTH)]
        if own and all(run in why for why in own):
            excluded[run] = own[0][run]
    return excluded
