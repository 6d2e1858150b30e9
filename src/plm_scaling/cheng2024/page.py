"""The page on the study's released logs: every published constant, our laws, and the audit."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.cheng2024 import FIGURES
from plm_scaling.cheng2024.constants import COLUMNS, RANGE, compare_constants
from plm_scaling.cheng2024.findings import published_findings, row_checks, row_sentence
from plm_scaling.cheng2024.fit import SAMPLES
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.status import Minimum, Status
from plm_scaling.report import page as study_page
from plm_scaling.report.tables import (
    DASH,
    STATUS_WORDS,
    count,
    equation_text,
    minimum_rows,
    runs_used,
    text,
)
from plm_scaling.report.template import code, flagged, inline_figures, write_page
from plm_scaling.report.versions import software_versions
from plm_scaling.runs.tables import read_runs

CAPTIONS = {
    **{name: study_page.CAPTIONS[name] for name in FIGURES if name in study_page.CAPTIONS},
    "isoflop": "Validation loss against model size at equal compute. Open circles are too far "
    "above the lowest loss to be fitted; the diamond is the minimum of the parabola, the bar its "
    "confidence interval.",
    "frontier": "Compute-optimal parameters and tokens against compute. Bands are confidence "
    "intervals of the IsoFLOP law; dotted beyond the budgets. Thin lines: the other laws and the "
    "study's Table 2.",
    "ur50_unimeta": "Validation loss on repeated UR50 tokens (dashed) and on fresh UniMeta tokens, "
    "means of stretches of evaluations; reruns and other data orders included. Each corpus has its "
    "own validation set, so the curves differ before anything is repeated.",
    "repeated": "Loss on repeated above that on fresh tokens, and what is fitted to it: tokens "
    "of decaying value, and an additive term. Letters are those of the table.",
}
NOT_CORRECTED = ("export sub-sampled",)  # notes of a file that change no number of its run


def make_published_report(
    runs: Path,
    audit: Path,
    laws: Sequence[Path],
    figures: Path,
    constants: Path,
    out: Path,
) -> None:
    """Write the page to `out`, constants.csv to its folder, and log where the page is.

    Raises PlmScalingError if a law that the published constants name is missing.

    Args:
        runs: table of runs
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
    with atomic(out.with_name("constants.csv")) as temporary:
        compared[list(COLUMNS)].to_csv(temporary, index=False)
    table, files = read_runs(runs), pd.read_csv(audit, dtype=str, keep_default_na=False)
    write_page(
        out,
        Path(__file__).with_name("page.html.j2"),
        findings=published_findings(fitted, compared),
        constants=constant_rows(compared),
        equations=equation_rows(fitted),
        warnings=[(_title(law), law.warnings) for law in fitted.values() if law.warnings],
        methods={_title(law): law.method for law in fitted.values()},
        minima=minimum_rows(fitted.values(), without=[Minimum.TOO_FEW_SIZES]),
        optima=optimum_rows(fitted),
        checks=[
            (law.objective.upper(), row_sentence(law.objective, check))
            for law in _named("parametric", fitted)
            for check in row_checks(law)
        ],
        repeats=repeat_rows(fitted),
        pairs=pair_rows(fitted),
        n_runs=len(table),
        samples=SAMPLES,
        n_points=int(table["n_evals"].sum()),
        total_flops=float(table["flops"].sum()),
        kinds=kind_rows(files),
        corrections=correction_rows(files),
        excluded=table.loc[table["excluded"] != "", ["run_id", "excluded"]].to_dict("records"),
        figures=inline_figures(figures, CAPTIONS),
        captions=CAPTIONS,
        versions=software_versions(None, None),
    )


def _title(law: LawResult) -> str:
    who = "both" if law.objective == "both" else law.objective.upper()
    return f"{who} {law.law.replace('_', ' ')}"


def _named(name: str, laws: Mapping[str, LawResult]) -> list[LawResult]:
    return [law for law in laws.values() if law.law == name]


def _ends(interval: Sequence[float | None] | None) -> str:
    """'0.5 to 0.6', an open end in words, or a dash."""
    if interval is None:
        return DASH
    return " to ".join("open" if end is None else f"{end:.3g}" for end in interval)


def constant_rows(constants: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of the constants as text."""
    return [
        {
            "name": row["name"],
            "objective": row["objective"].upper(),
            "symbol": row["symbol"],
            "form": row["form"],
            "published": RANGE.sub(r"\1 to \2", row["published"]),
            "procedure": text(row["by_their_procedure"], ".5g"),
            "difference": text(row["relative_difference"], "+.1e"),
            "ours": text(row["ours"], ".3g"),
            "interval": DASH if pd.isna(row["low"]) else _ends((row["low"], row["high"])),
            "verdict": row["verdict"],
        }
        for row in constants.to_dict("records")
    ]


def equation_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per equation of each law, its parameters with their intervals."""
    rows = []
    for law in laws.values():
        for name, equation in law.equations.items():
            form, parameters = equation_text(equation)
            known = any(value is not None for value in equation.parameters.values())
            status = law.status if known else Status.NOT_IDENTIFIED
            rows.append(
                {
                    "law": _title(law),
                    "equation": f"{name} = {form}",
                    "parameters [95 % interval]": parameters if known else DASH,
                    "points": runs_used(law),
                    "status": flagged(STATUS_WORDS[status], status == Status.CONVERGED),
                }
            )
    return rows


def optimum_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """The optima of the parametric fits, the published row and where a descent from it ends."""
    rows = []
    for law in _named("parametric", laws):
        best = law.details["optima"][0]["objective_value"]
        listed = [
            ("optimum of the law's runs", o, o["objective_value"] / best)
            for o in law.details["optima"]
        ]
        for check in row_checks(law):
            where, ratio = check["source"], check["polished_ratio_to_best"]
            listed.append((f"Table A9, {where}", check["row"], check["ratio_to_best"]))
            listed.append((f"best fit, {where}", check["best"], 1.0))
            listed.append((f"descent from Table A9, {where}", check["polished"], ratio))
        for what, values, ratio in listed:
            alpha, beta = values["alpha"], values["beta"]
            rows.append(
                {
                    "objective": law.objective.upper(),
                    "what": what,
                    "objective ÷ best": f"{ratio:.3f}",
                    **{name: text(values[name]) for name in ("E", "A", "B")},
                    "α": text(alpha),
                    "β": text(beta),
                    "a": f"{beta / (alpha + beta):.3f}" if alpha + beta > 0 else DASH,
                }
            )
    return rows


def repeat_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per repeated run, in the order of the figure's panels."""
    sizes = [
        (law.objective.upper(), size)
        for law in _named("repeated", laws)
        for size in law.details.get("sizes", [])
    ]
    return [
        {
            "": chr(ord("a") + place),
            "objective": objective,
            "run": size["run_id"],
            "epochs": f"{size['epochs']:.1f}",
            "offset (nats)": f"{size['offset_nats']:.4f}",
            "R*": text(size["R_D"], ".3g"),
            "interval": _ends(size["interval"]),
            "worth at the end (U)": text(size["effective_over_unique_at_end"], ".3g"),
            "smooth misfit (nats)": f"{size['rms_smoothed_nats']:.4f}",
            "additive (nats)": f"{size['excess']['c']:.2g}·R^{size['excess']['kappa']:.2f}",
            "note": size["why"],
        }
        for place, (objective, size) in enumerate(sizes)
    ]


def pair_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per pair of a transferred run and its partner from scratch."""
    return [
        {
            "direction": f"{pair['source'].split(':')[0].upper()} → {law.objective.upper()}",
            "N": count(pair["n_params"]),
            "target C (FLOPs)": f"{pair['flops']:.2g}",
            "share of the source": f"{100 * pair['source_share']:.0f} %",
            "loss from scratch": f"{pair['scratch_loss']:.4f}",
            "transferred": f"{pair['loss']:.4f}",
            "gain (nats)": f"{pair['gain_nats']:.4f}",
            "interval": _ends(pair["gain_interval"]),
            "scratch compute ÷ all spent": text(pair["compute_ratio"], ".3g"),
        }
        for law in _named("transfer", laws)
        for pair in law.details["pairs"]
    ]


def kind_rows(files: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Files by what they hold, and how many are used."""
    used = files.assign(used=files["used"] == "yes").groupby(["kind", "axis"])["used"]
    kinds = used.agg(files="size", used="sum").reset_index()
    return kinds.rename(columns={"kind": "holds"}).to_dict("records")


def correction_rows(files: pd.DataFrame) -> list[dict[str, str]]:
    """Used files whose numbers were corrected or inferred, and unused ones, with the reason."""
    unchanged = files["notes"].str.startswith(NOT_CORRECTED) & ~files["notes"].str.contains(";")
    noted = files[(files["notes"] != "") & ~unchanged]
    return [
        {
            "run": code(row["run_id"]),
            "used": row["used"],
            "what was found": row["notes"],
            "file": code(row["path"]),
        }
        for row in noted.sort_values(["used", "path"], ascending=[False, True]).to_dict("records")
    ]
