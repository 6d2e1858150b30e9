"""The last lines of a run: what was fitted, and where the report is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.text import headline, law_lines
from plm_scaling.sweep.stages import PlacedStage, recorded


@dataclass(frozen=True)
class Summary:
    """Of a results folder: the stages that were placed, the law files by path, and the report, None
    where it is not made yet."""

    results: Path
    stages: list[PlacedStage]
    laws: dict[Path, LawResult]
    report: Path | None

    def text(self) -> str:
        """A short line for each; why, and what speaks against a law, is in the report."""
        lines = [
            f"stage {stage.stage}: {line}"
            for stage in self.stages
            for line in [*(placed.cells for placed in stage.budgets), *stage.rates]
        ]
        lines += [law_lines(law)[0] for law in self.laws.values()]
        missing = f"{self.results / 'report.html'}: not made yet"
        return "\n".join([*lines, f"report: {address(self.report)}" if self.report else missing])

    def to_json(self) -> dict[str, Any]:
        """The same; of each law the equations with intervals, status and warnings."""
        return {
            "stages": [
                {"stage": stage.stage, "text": line} for stage in self.stages for line in stage.said
            ],
            "laws": [
                {
                    "file": str(path),
                    "law": law.law,
                    "objective": law.objective,
                    "headline": headline(law),
                    "status": law.status,
                    "equations": {name: one.to_json() for name, one in law.equations.items()},
                    "warnings": law.warnings,
                }
                for path, law in self.laws.items()
            ],
            "report": self.report and str(self.report),
        }


def summary(results: Path) -> Summary:
    """What `results` holds. Raises `LawError` when no law has been fitted there."""
    files = sorted((results / "laws").glob("*.json"))
    if not files:
        raise LawError(
            f"{results}/laws: no law file yet; `plm-scaling run` (or `snakemake laws`) fits them"
        )
    stages = [*recorded(results / "stages")]
    report = results / "report.html"
    laws = {path: read_law(path) for path in files}
    return Summary(results, stages, laws, report if report.exists() else None)


def address(page: Path) -> str:
    """Of a page of this machine, as a terminal makes a link of it."""
    return page.absolute().as_uri()
