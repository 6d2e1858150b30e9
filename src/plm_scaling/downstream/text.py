"""Scores of one evaluation as text."""

from pathlib import Path

from plm_scaling.common.files import read_json


def scores_text(record: Path) -> str:
    """A line for each score of all groups together: value ± standard error, and the floor."""
    lines = []
    for score in read_json(record)["scores"]:
        if score["group"]:
            continue
        value = "not defined" if score["value"] is None else f"{score['value']:.4f}"
        if score["standard_error"] is not None:
            value += f" ± {score['standard_error']:.4f}"
        if score["floor"] is not None:
            value += f" (floor {score['floor']:.4f})"
        lines.append(f"{score['protocol']}, {score['metric']}: {value}")
    return "\n".join(lines)
