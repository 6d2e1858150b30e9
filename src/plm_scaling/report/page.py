"""Gather everything a study has made into one self-contained HTML page."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from plm_scaling.errors import PlmScalingError
from plm_scaling.files import atomic
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.report import tables
from plm_scaling.report.findings import comparison, find
from plm_scaling.report.svg import inline_svg
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
    "learning_curves": "Validation loss while each cell trained, coloured by model size.",
    "funnel": "Sequences kept and dropped by each stage, summed over the sources.",
    "perplexity": "Perplexity of the training sequences under the reference model; dashed lines "
    "are the thresholds of the filter.",
}


def make_report(
    study: str,
    runs: Path,
    laws: Sequence[Path],
    figures: Path,
    out: Path,
    config: Path | None = None,
    sweep: Path | None = None,
    sources: Path | None = None,
    counts: Sequence[Path] = (),
    contamination: Path | None = None,
    manifest: Path | None = None,
    tool: Path | None = None,
) -> None:
    """Write the page of `study` to `out`.

    `figures` holds {name}.svg; those of the data are shown when `counts` are given. Without data
    files the page says that they were not at hand. Logs where the page is.
    """
    fitted = [read_law(path) for path in laws]
    if not fitted:
        raise PlmScalingError(f"no law file given for the report of {study}; fit laws first")
    run_table = read_runs(runs)
    finished = run_table[run_table["status"] == "finished"]
    dearest = float(finished["flops"].max()) if len(finished) else None
    status = run_table["status"].value_counts().to_dict()
    funnel = tables.funnel_rows(counts)
    page = _template().render(
        study=study,
        findings=find(fitted, dearest),
        comparison=comparison(fitted),
        level=fitted[0].equations["N"].level,
        laws=tables.law_rows(fitted),
        methods={law.law: law.method for law in fitted},
        minima=_minima(fitted),
        warnings=[(f"{w.objective.upper()} {w.law}", w.warnings) for w in fitted if w.warnings],
        excluded=_excluded(fitted),
        status=status,
        n_runs=len(run_table),
        total_flops=float(run_table["flops"].sum()),
        sweep=tables.sweep_rows(run_table, sweep),
        figures=_figures(figures, with_data=bool(counts)),
        captions=CAPTIONS,
        funnel=funnel,
        tokens=tables.token_rows(manifest),
        contamination=tables.contamination_sentence(contamination),
        sources=tables.source_rows(sources, {row["source"] for row in funnel}),
        versions=versions(config, tool),
    )
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logger.info("[report] %s", out)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["formulas"] = _formulas
    return environment.get_template("page.html.j2")


def _formulas(sentence: str) -> Markup:
    """N_opt and C^0.52 with real sub- and superscripts."""
    text = re.sub(r"\b([NDL])_opt\b", r"\1<sub>opt</sub>", str(escape(sentence)))
    return Markup(re.sub(r"\bC\^(-?[\d.]*\d)", r"C<sup>\1</sup>", text))


def _figures(folder: Path, with_data: bool) -> dict[str, str]:
    """Inline SVG by name; data figures only with data, so that no stale one is shown."""
    wanted = [n for n in CAPTIONS if with_data or n not in ("funnel", "perplexity")]
    found = [name for name in wanted if (folder / f"{name}.svg").is_file()]
    return {name: inline_svg(folder / f"{name}.svg", CAPTIONS[name]) for name in found}


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
                    "n_params": _number(row["n_params"]),
                    "interval": " to ".join(map(_number, interval)) if interval else tables.DASH,
                    "tokens": _number(row["tokens"]),
                    "loss": tables.DASH if row["loss"] is None else f"{row['loss']:.4f}",
                    "note": row["reason"] or "accepted",
                }
            )
    return rows


def _number(value: float | None) -> str:
    return tables.DASH if value is None else tables.short_number(value)


def _excluded(laws: Sequence[LawResult]) -> dict[str, str]:
    """Runs no law used, once each."""
    return {row["run_id"]: row["why"] for law in laws for row in law.excluded}
