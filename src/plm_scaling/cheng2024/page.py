"""The page on the study's released logs: every published constant, our laws, and the audit."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.cheng2024 import FIGURES
from plm_scaling.cheng2024.constants import COLUMNS, compare_constants
from plm_scaling.cheng2024.findings import (
    published_findings,
    reproduction,
)
from plm_scaling.cheng2024.released import (
    read_released,
    released_finding,
    released_rows,
    released_sentences,
)
from plm_scaling.cheng2024.rows import (
    constant_rows,
    marks,
    optimum_rows,
    pair_rows,
    repeat_rows,
)
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic
from plm_scaling.laws.result import read_law
from plm_scaling.laws.status import Minimum
from plm_scaling.planner.laws import OPTIMA
from plm_scaling.report import page as study_page
from plm_scaling.report.html.template import code, inline_figures, write_page
from plm_scaling.report.parts.cards import cards, counted
from plm_scaling.report.parts.forecasts import forecasts_part
from plm_scaling.report.parts.limits import law_limits
from plm_scaling.report.parts.made import made_with
from plm_scaling.report.parts.tables import minimum_rows
from plm_scaling.runs.tables import read_runs

CAPTIONS = {
    **{name: study_page.CAPTIONS[name] for name in FIGURES if name in study_page.CAPTIONS},
    "frontier": study_page.CAPTIONS["frontier"] + " Stars are the study's largest runs, dots its "
    "Table 2.",
    "ur50_unimeta": "Validation loss on repeated UR50 tokens (dashed) and on fresh UniMeta tokens, "
    "means of stretches of evaluations; reruns are included, and other data orders, in dashes of "
    "their own. Each corpus has its own validation set, so the curves differ before anything is "
    "repeated.",
    "repeated": "Loss on repeated above that on fresh tokens, and what is fitted to it: tokens "
    "of decaying value, and an additive term. Letters are those of the table.",
    "fitness_and_loss": "Mean Spearman correlation with the assays of ProteinGym against held-out "
    "loss, against the perplexity of new families and against size; contacts of ESM-2. Bars "
    "are standard errors over proteins: of differences between models, which share the assays, see "
    "the text. Numbers beside points are parameters.",
}
LAST_BUDGETS = 9e20  # FLOPs, from which on forecasts are listed
LOGS = "data/training_logs/"  # of the study's repository
NOT_CORRECTED = ("export sub-sampled",)  # notes of a file that change no number of its run


def make_published_report(
    runs: Path,
    audit: Path,
    laws: Sequence[Path],
    forecasts: Path,
    figures: Path,
    constants: Path,
    released: Path,
    assays: Path,
    out: Path,
) -> None:
    """Write the page to `out`, constants.csv to its folder, and log where the page is.

    Raises PlmScalingError if a law that the published constants name is missing.

    Args:
        runs: table of runs
        audit: what became of each file
        laws: law files, named {objective}.{law}.json
        forecasts: table of forecasts and their outcomes
        figures: folder of {name}.svg
        constants: the published constants
        released: published scores of released models
        assays: their scores by assay
        out: the page (HTML)
    """
    fitted = {path.stem: read_law(path) for path in laws}
    if not fitted:
        raise PlmScalingError("no law file given for the report of the published logs; fit first")
    compared = compare_constants(constants, fitted)
    with atomic(out.with_name("constants.csv")) as temporary:
        compared[list(COLUMNS)].to_csv(temporary, index=False)
    scores = read_released(released, assays)
    of, listed = published_findings(fitted, compared), constant_rows(compared)
    table, files = read_runs(runs), pd.read_csv(audit, dtype=str, keep_default_na=False)
    write_page(
        out,
        Path(__file__).with_name("page.html.j2"),
        answers=of["isoflop"],
        reproduction=reproduction(compared),
        findings=of,
        released_finding=released_finding(scores),
        limits=law_limits(law for law in fitted.values() if law.law in OPTIMA),
        constants=listed,
        constants_line=marks(listed),
        cards=cards(fitted.values()),
        laws_line=counted(fitted.values()),
        minima=minimum_rows(fitted.values(), without=[Minimum.TOO_FEW_SIZES]),
        optima=optimum_rows(fitted),
        forecasts=forecasts_part(forecasts, LAST_BUDGETS),
        repeats=repeat_rows(fitted),
        pairs=pair_rows(fitted),
        released=released_rows(scores),
        released_sentences=released_sentences(scores),
        n_runs=len(table),
        n_points=int(table["n_evals"].sum()),
        total_flops=float(table["flops"].sum()),
        kinds=kind_rows(files),
        corrections=correction_rows(files),
        excluded=table.loc[table["excluded"] != "", ["run_id", "excluded"]].to_dict("records"),
        figures=inline_figures(figures, CAPTIONS),
        captions=CAPTIONS,
        made=made_with(),
    )


def kind_rows(files: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Files by what they hold, and how many are used."""
    used = files.assign(used=files["used"] == "yes").groupby(["kind", "axis"])["used"]
    kinds = used.agg(files="size", used="sum").reset_index()
    return kinds.rename(columns={"kind": "log of", "axis": "against"}).to_dict("records")


def correction_rows(files: pd.DataFrame) -> list[dict[str, str]]:
    """Used files whose numbers were corrected or inferred, and unused ones, with the reason."""
    unchanged = files["notes"].str.startswith(NOT_CORRECTED) & ~files["notes"].str.contains(";")
    noted = files[(files["notes"] != "") & ~unchanged]
    return [
        {
            "run": code(row["run_id"]),
            "used": row["used"],
            "what was found": row["notes"].replace(LOGS, ""),
            "file": code(row["path"].removeprefix(LOGS)),
        }
        for row in noted.sort_values(["used", "path"], ascending=[False, True]).to_dict("records")
    ]
