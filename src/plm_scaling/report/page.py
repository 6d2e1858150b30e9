"""Everything that a study has made, on one self-contained HTML page."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import read_json
from plm_scaling.figures import DATA_FIGURES, run_figures
from plm_scaling.laws.result import read_law
from plm_scaling.report.html.template import inline_figures, write_page
from plm_scaling.report.parts import scores as of_scores
from plm_scaling.report.parts import tables
from plm_scaling.report.parts.cards import cards, counted
from plm_scaling.report.parts.findings import comparison, find
from plm_scaling.report.parts.forecasts import CAPTION, forecasts_part
from plm_scaling.report.parts.leakage import leakage_rows, leakage_sentences
from plm_scaling.report.parts.limits import excluded_runs, limits
from plm_scaling.report.parts.made import made_with
from plm_scaling.report.parts.tuning import tuning_part
from plm_scaling.runs.tables import read_runs
from plm_scaling.sweep.stages import recorded

OF_UNIPROT = re.compile("uniref|uniprot|swiss", re.IGNORECASE)  # names of sources
CAPTIONS = {
    "isoflop": "Validation loss against model size at equal compute. The diamond is the minimum of "
    "the parabola, the bar its confidence interval; open circles are too far above the lowest loss "
    "to be fitted. Numbers are FLOPs; a cross and dashes mark a budget without a usable minimum.",
    "frontier": "Compute-optimal parameters and tokens against compute. Bands are confidence "
    "intervals of the IsoFLOP law; lines are thin beyond the runs of their law, and pale where "
    "these do not identify it.",
    "parametric": "Measured loss against the loss fitted by E + A/N^α + B/D^β, and the residuals "
    "against compute.",
    "loss_contours": "Lines of equal loss by the parametric law over compute and size, "
    "nats/token; dots are runs in the colour of their measured loss, straight lines the best size "
    "at each compute by both laws, pale where a law is not identified.",
    "learning_curves": "Validation loss of each cell against the compute it has spent, coloured by "
    "model size; black is the lowest at each compute.",
    "corpora": "The lowest loss of each corpus at each budget, on the same held-out sequences; "
    "beside it, above the best corpus, with dots for single sizes.",
    "recipes": "The lowest loss of each recipe at each budget; beside it, above the best recipe, "
    "with dots for single sizes.",
    "held_out": "The best run of each corpus and recipe on every held-out set, the same for all: "
    "valid, and ood where newer families are held out, over all sources in proportion and for each "
    "source.",
    "forecasts": CAPTION,
    "transfer": "What starting from the other objective's weights gains over the same tokens from "
    "scratch, and the compute from scratch for the same loss over all that was spent; bars are "
    "confidence intervals.",
    "mask_ratio": "Loss above the minimum of the parabola of its size; open marks cannot be told "
    "from the best. The band is the confidence interval of the best ratio.",
    "tuning": "Loss above that of the best rate at each size and number of tokens (open marks are "
    "too far from it for the parabola), and the best rates against those of the law; on the dashed "
    "line both are equal.",
    "batches": "Loss at the best rate of each batch above that of the best batch, at each size and "
    "number of tokens (open marks are too far from it for the parabola), and the best batches "
    "against those of the law; on the dashed line both are equal.",
    "funnel": "Sequences kept and dropped by each stage, summed over the sources.",
    "perplexity": "Perplexity of the training sequences under the reference model, by length; "
    "lines are the thresholds of the filter, which drop the same share of every length.",
    **of_scores.CAPTIONS,
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
    leakage: Path | None = None,
    manifest: Path | None = None,
    tool: Path | None = None,
    reference: Path | None = None,
    own: str = "{}",
    forecasts: Path | None = None,
    scores: Path | None = None,
    score_laws: Sequence[Path] = (),
    stages: Path | None = None,
    records: Path | None = None,
) -> None:
    """Write the page of `study` to `out` and log where it is.

    `figures` holds {name}.svg; those of the data are shown when `counts` are given. Without data
    files the page notes that they were not available, without `scores` it has no part on them.
    `reference` (JSON) is a published study to set the compute of the runs against, and to cite.
    Raises PlmScalingError without law files.

    Args:
        study: the study's name, the page's title
        runs: table of runs
        laws: law files
        figures: folder of {name}.svg and .csv
        out: the page (HTML)
        config: the config, shown whole
        sources: source table, for versions and licences
        counts: counts.tsv by stage
        examples: examples.tsv of the filter
        contamination: report of the contamination check (JSON)
        leakage: leakage.tsv, what that check measured
        manifest: manifest of the token shards
        tool: versions of outside tools (JSON)
        reference: a published study to compare with (JSON)
        own: columns of the sources that the config declares itself, by name (JSON)
        forecasts: table of forecasts and their outcomes
        scores: table of scores on benchmarks (scores.csv)
        score_laws: law files of the scores
        stages: folder of the stages that were placed ({number}.json)
        records: folder of the runs' records ({cell}/result.json), for their hardware and hours
    """
    fitted = [read_law(path) for path in laws]
    if not fitted:
        raise PlmScalingError(f"no law file given for the report of {study}; fit laws first")
    table = read_runs(runs)
    published = read_json(reference) if reference else None
    funnel = tables.funnel_rows(counts)
    compared = {
        name: by
        for name, by in (("corpora", "corpus"), ("recipes", "recipe"))
        if table[by].nunique() > 1
    }
    kinds = table["corpus"].nunique(), table["recipe"].nunique()
    shown = {*run_figures((law.law for law in fitted), *kinds), *(DATA_FIGURES if counts else ())}
    downstream = of_scores.scores_part(scores, score_laws)
    shown |= set(of_scores.CAPTIONS) if scores else set()
    of_forecasts = forecasts_part(forecasts)
    shown -= set() if of_forecasts["outcomes"] else {"forecasts"}  # drawn empty
    drawn = inline_figures(figures, {n: c for n, c in CAPTIONS.items() if n in shown})
    placed = recorded(stages) if stages else []
    findings = find(fitted)
    listed = tables.source_rows(sources, own, {row["source"] for row in funnel})
    write_page(
        out,
        Path(__file__).with_name("page.html.j2"),
        study=study,
        findings=findings,
        comparison=comparison(fitted),
        first_figure="frontier" if any(found.train for found in findings) else "isoflop",
        limits=limits(fitted, table, published),
        level=next(iter(fitted[0].equations.values())).level,
        cards=cards(fitted),
        laws_line=counted(fitted),
        minima=tables.minimum_rows(fitted),
        tuning=tuning_part(fitted),
        excluded=excluded_runs(fitted, table),
        runs_line=tables.runs_line(table),
        status=table["status"].value_counts().to_dict(),
        n_runs=len(table),
        total_flops=float(table["flops"].sum()),
        comparisons={
            name: tables.comparison_rows(figures / f"{name}.csv", by)
            for name, by in compared.items()
        },
        sweep=tables.sweep_rows(table),
        stages=tables.stage_rows(placed),
        stage_rates=[f"Stage {stage.stage}, {line}" for stage in placed for line in stage.rates],
        figures=drawn,
        captions=CAPTIONS,
        funnel=funnel,
        data_line=tables.funnel_line(counts),
        examples=tables.example_rows(examples),
        tokens=tables.token_rows(manifest),
        leakage_sentences=leakage_sentences(contamination, leakage),
        leakage=leakage_rows(leakage),
        sources=listed,
        uniprot=any(OF_UNIPROT.search(row["name"]) for row in listed),
        made=made_with(config, tool, _records(records, table)),
        forecasts=of_forecasts,
        downstream=downstream,
        reference=published,
    )


def _records(folder: Path | None, runs: pd.DataFrame) -> list[Path]:
    """The records of the runs, in the order of the table."""
    if folder is None:
        return []
    paths = [folder / str(run) / "result.json" for run in runs["run_id"]]
    return [path for path in paths if path.is_file()]
