"""The last lines of a run: what was fitted, and where the report is."""

from pathlib import Path

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import read_law
from plm_scaling.laws.text import law_sentence
from plm_scaling.sweep.stages import recorded


def summary(results: Path) -> str:
    """A line for each stage that was placed and each law file of a results folder, and the report's
    path.

    Raises `LawError` when no law has been fitted there.
    """
    files = sorted((results / "laws").glob("*.json"))
    if not files:
        raise LawError(f"{results}/laws: no law file; fit laws with `snakemake laws`")
    lines = [
        f"stage {stage.stage}: {budget.text}"
        for stage in recorded(results / "stages")
        for budget in stage.budgets
    ]
    lines += [law_sentence(read_law(path)) for path in files]
    report = results / "report.html"
    lines.append(f"report: {report}" if report.exists() else f"{report}: not made yet")
    return "\n".join(lines)
