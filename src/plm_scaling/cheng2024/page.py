"""The page on the study's released logs: every published constant, our laws, and the audit."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.cheng2024.constants import compare_constants, write_constants
from plm_scaling.cheng2024.findings import published_findings, row_checks, row_sentence
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic
from plm_scaling.common.progress import short_count
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.status import Minimum, Status
from plm_scaling.report.tables import DASH, STATUS_WORDS, runs_used, with_interval
from plm_scaling.report.template import inline_figures, render
from plm_scaling.report.versions import versions
from plm_scaling.runs.tables import read_runs

logger = logging.getLogger("plm_scaling")

CAPTIONS = {
    "isoflop": "Loss against size at equal compute. Open circles are too far above the lowest loss "
    "to be fitted; the diamond is the vertex, the bar its interval.",
    "frontier": "Best parameters and tokens against compute. Bands: intervals of the IsoFLOP law; "
    "dotted beyond the budgets. Thin lines: the other laws and the study's Table 2.",
    "loss_contours": "Loss fitted by the parametric law; dots are runs in the colour of their "
    "measured loss, lines the best size at each compute by both laws.",
    "parametric": "Measured loss against the loss fitted by E + A/N^α + B/D^β, and what the fit "
    "leaves over along compute.",
    "ur50_unimeta": "Validation loss on repeated UR50 tokens (dashed) and on fresh UniMeta tokens, "
    "means of stretches of evaluations; reruns and other data orders included. Each corpus has its "
    "own validation set, so the curves differ before anything is repeated.",
    "repeated": "Loss on repeated above that on fresh tokens, and what is fitted to it: tokens "
    "that lose their worth, and an additive term. Letters are those of the table.",
    "transfer": "What starting from the other objective gains, and whether it pays when the "
    "compute of the source counts; bars are intervals.",
    "mask_ratio": "Loss above the best of its size; open marks cannot be told from the best. "
    "The band is the interval of the best ratio.",
}
NOT_CORRECTED = ("export sub-sampled",)  # notes of a file that change no number of its run


def make_published_report(
    runs: Path,
    curves: Path,
    audit: Path,
    laws: Sequence[Path],
    figures: Path,
    constants: Path,
    out: Path,
) -> None:
    """Write the page to `out` and constants.csv beside it; logs where the page is.

    Raises PlmScalingError if a law that the published constants name is missing.

    Args:
        runs: table of runs
        curves: table of curves
        audit: what became of each file
        laws: law files, named {objective}.{law}.json
        figures: folder of {name}.svg
        constants: the published constants
        out: the page (HTML)
    """
    fitted = {path.stem: read_law(path) for path in laws}
    if not fitted:
        raise PlmScalingError("no law file given for the report of the published logs; fit first")
    compared = compare_constants(constants, fitted)
    write_constants(out.with_name("constants.csv"), compared)
    table, files = read_runs(runs), pd.read_csv(audit, dtype=str, keep_default_na=False)
    points = pd.read_parquet(curves, columns=["split"])
    page = render(
        Path(__file__).with_name("page.html.j2"),
        findings=published_findings(fitted, compared),
        constants=constant_rows(compared),
        equations=equation_rows(fitted),
        warnings=[(_title(law), law.warnings) for law in fitted.values() if law.warnings],
        methods=[(_title(law), law.method) for law in fitted.values()],
        minima=minimum_rows(fitted),
        optima=optimum_rows(fitted),
        checks=[
            (law.objective.upper(), row_sentence(check))
            for law in fitted.values()
            if law.law == "parametric"
            for check in row_checks(law)
        ],
        repeats=repeat_rows(fitted),
        pairs=pair_rows(fitted),
        n_runs=len(table),
        n_points=len(points),
        total_flops=float(table["flops"].sum()),
        kinds=kind_rows(files),
        corrections=correction_rows(files),
        excluded=table.loc[table["excluded"] != "", ["run_id", "excluded"]].to_dict("records"),
        figures=inline_figures(figures, CAPTIONS, list(CAPTIONS)),
        captions=CAPTIONS,
        versions=versions(None, None),
    )
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logger.info("[report] %s", out)


def _title(law: LawResult) -> str:
    who = "both" if law.objective == "both" else law.objective.upper()
    return f"{who} {law.law.replace('_', ' ')}"


def _text(value: Any, digits: int = 4) -> str:
    return DASH if value is None or pd.isna(value) else f"{value:.{digits}g}"


def _ends(interval: Sequence[float | None] | None) -> str:
    """'0.5 to 0.6', an open end in words, or a dash."""
    if interval is None:
        return DASH
    return " to ".join("open" if end is None else f"{end:.3g}" for end in interval)


def constant_rows(constants: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of the constants as text."""
    rows = []
    for row in constants.to_dict("records"):
        low, high = row["low"], row["high"]
        difference = row["relative_difference"]
        rows.append(
            {
                "name": row["name"],
                "objective": row["objective"].upper(),
                "symbol": row["symbol"],
                "form": row["form"],
                "published": row["published"].replace("-", " to ") if "0-" in row["published"]
                else row["published"],
                "procedure": _text(row["by_their_procedure"], 5),
                "difference": DASH if pd.isna(difference) else f"{difference:+.1e}",
                "ours": _text(row["ours"], 3),
                "interval": DASH if pd.isna(low) else _ends((low, high)),
                "verdict": row["verdict"],
            }
        )  # fmt: skip
    return rows


def equation_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per equation of each law, its parameters with their intervals."""
    rows = []
    for law in laws.values():
        for name, equation in law.equations.items():
            unknown = all(value is None for value in equation.parameters.values())
            values = "; ".join(f"{p} = {with_interval(equation, p)}" for p in equation.parameters)
            rows.append(
                {
                    "law": _title(law),
                    "equation": f"{name} = {equation.form.replace('*', '·')}",
                    "values": "not identified" if unknown else values,
                    "runs": runs_used(law),
                    "status": STATUS_WORDS[law.status],
                    "good": "yes" if law.status == Status.CONVERGED and not unknown else "",
                }
            )
    return rows


def minimum_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """The vertices of the IsoFLOP budgets that have enough sizes, refused ones with the reason."""
    rows = []
    for law in laws.values():
        for row in law.details.get("minima", []):
            if row["status"] == Minimum.TOO_FEW_SIZES:
                continue
            interval = row["n_params_interval"]
            rows.append(
                {
                    "objective": law.objective.upper(),
                    "flops": f"{row['flops']:.3g}",
                    "runs": str(row["n_runs"]),
                    "n_params": _count(row["n_params"]),
                    "interval": " to ".join(map(short_count, interval)) if interval else DASH,
                    "tokens": _count(row["tokens"]),
                    "loss": _text(row["loss"], 4),
                    "note": row["reason"] or "accepted",
                }
            )
    return rows


def _count(value: float | None) -> str:
    return DASH if value is None else short_count(value)


def optimum_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """The optima of the parametric fits, the published row and where a descent from it ends."""
    rows = []
    for law in laws.values():
        if law.law != "parametric":
            continue
        best = law.details["optima"][0]["objective_value"]
        listed = [
            ("optimum of the law's runs", o, o["objective_value"] / best)
            for o in law.details["optima"]
        ]
        for check in row_checks(law):
            where = f", {check['source']}" if "source" in check else ""
            listed.append((f"Table A9{where}", check["row"], check["ratio_to_best"]))
            ratio = check["polished_ratio_to_best"]
            listed.append((f"best fit{where}", check["best"], 1.0))
            listed.append((f"descent from Table A9{where}", check["polished"], ratio))
        for what, values, ratio in listed:
            numbers = {n: _text(values[n]) for n in ("E", "A", "B", "alpha", "beta")}
            share = DASH
            if values["alpha"] + values["beta"] > 0:
                share = f"{values['beta'] / (values['alpha'] + values['beta']):.3f}"
            head = {"objective": law.objective.upper(), "what": what, "ratio": f"{ratio:.3f}"}
            rows.append({**head, **numbers, "a": share})
    return rows


def repeat_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per repeated run, in the order of the figure's panels."""
    sizes = [
        (law.objective.upper(), size)
        for law in laws.values()
        if law.law == "repeated"
        for size in law.details.get("sizes", [])
    ]
    return [
        {
            "letter": chr(ord("a") + place),
            "objective": objective,
            "run": size["run_id"],
            "n_params": short_count(size["n_params"]),
            "epochs": f"{size['epochs']:.1f}",
            "offset": f"{size['offset_nats']:.4f}",
            "r_star": _text(size["R_D"], 3),
            "interval": _ends(size["interval"]),
            "worth": _text(size["effective_over_unique_at_end"], 3),
            "rms": f"{size['rms_smoothed_nats']:.4f}",
            "excess": f"{size['excess']['c']:.2g}·R^{size['excess']['kappa']:.2f}",
            "why": size["why"],
        }
        for place, (objective, size) in enumerate(sizes)
    ]


def pair_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per pair of a transferred run and its partner from scratch."""
    return [
        {
            "source": f"{pair['source'].split(':')[0].upper()} → {law.objective.upper()}",
            "n_params": short_count(pair["n_params"]),
            "flops": f"{pair['flops']:.2g}",
            "share": f"{100 * pair['source_share']:.0f} %",
            "scratch": f"{pair['scratch_loss']:.4f}",
            "loss": f"{pair['loss']:.4f}",
            "gain": f"{pair['gain_nats']:.4f}",
            "interval": _ends(pair["gain_interval"]),
            "ratio": _text(pair["compute_ratio"], 3),
        }
        for law in laws.values()
        if law.law == "transfer"
        for pair in law.details["pairs"]
    ]


def kind_rows(files: pd.DataFrame) -> list[dict[str, str]]:
    """Files by what they hold, and how many are used."""
    rows = []
    for (kind, axis), part in files.groupby(["kind", "axis"]):
        used = str((part["used"] == "yes").sum())
        rows.append({"kind": str(kind), "axis": str(axis), "files": str(len(part)), "used": used})
    return rows


def correction_rows(files: pd.DataFrame) -> list[dict[str, str]]:
    """Used files whose numbers were corrected or inferred, and unused ones, with the reason."""
    noted = files[(files["notes"] != "") & ~files["notes"].isin(_unchanged(files))]
    names = {"path": "path", "run": "run_id", "used": "used", "notes": "notes"}
    return [
        {name: str(row[column]) for name, column in names.items()}
        for row in noted.sort_values(["used", "path"], ascending=[False, True]).to_dict("records")
    ]


def _unchanged(files: pd.DataFrame) -> set[str]:
    return {note for note in files["notes"] if note.startswith(NOT_CORRECTED) and ";" not in note}
