"""The last lines of a run: what was fitted, and where the report is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.text import headline, law_sentence
from plm_scaling.sweep.stages import recorded


@dataclass(frozen=True)
class Summary:
    """Of a results folder: what is said of each stage that was placed, the law files by path, and
    the report, None where it is not made yet."""

    results: Path
    stages: list[tuple[int, str]]
    laws: dict[Path, LawResult]
    report: Path | None

    def text(self) -> str:
        """A line for each."""
        lines = [f"stage {number}: {text}" for number, text in self.stages]
        lines += map(law_sentence, self.laws.values())
        missing = f"{self.results / 'report.html'}: not made yet"
        return "\n".join([*lines, f"report: {self.report}" if self.report else missing])

    def to_json(self) -> dict[str, Any]:
        """The same; of each law the equations with intervals, status and warnings."""
        return {
            "stages": [{"stage": number, "text": text} for number, text in self.stages],
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
        raise LawError(f"{results}/laws: no law file; fit laws with `snakemake laws`")
    stages = [(stage.stage, line) for stage in recorded(results / "stages") for line in stage.said]
    report = results / "report.html"
    laws = {path: read_law(path) for path in files}
    return Summary(results, stages, laws, report if report.exists() else None)
