"""The report's part on learning rates: the best ones, and what those of the sweep cost."""

from collections.abc import Sequence
from typing import Any

from plm_scaling.laws.result import LawResult
from plm_scaling.laws.tuning.details import to_be_relied_on
from plm_scaling.report.parts.tables import count, text


def tuning_part(laws: Sequence[LawResult]) -> dict[str, Any]:
    """What the page says of the laws `tuning`: rows of the best rates and of the rates that were
    used, and for each objective the block for the config of a later stage."""
    own = [law for law in laws if law.law == "tuning"]
    return {
        "best": [row for law in own for row in _best_rows(law)],
        "used": [row for law in own for row in _used_rows(law)],
        "blocks": {law.objective: block for law in own if (block := _block(law))},
    }


def _best_rows(law: LawResult) -> list[dict[str, str]]:
    return [
        {
            "objective": law.objective.upper(),
            "N": count(row["n_params"]),
            "tokens": count(row["tokens"]),
            "batch": count(row["batch_tokens"]),
            "rates": str(len(row["rates"])),
            "best rate": text(row["best_rate"], ".2e"),
            "by the law": text(row["law_rate"], ".2e"),
            "the law costs (nats)": text(row["excess"], ".4f"),
            "loss": text(row["loss"], ".4f"),
        }
        for row in law.details["groups"]
    ]


def _used_rows(law: LawResult) -> list[dict[str, str]]:
    return [
        {
            "objective": law.objective.upper(),
            "N": count(row["n_params"]),
            "tokens": count(row["tokens"]),
            "runs": str(row["runs"]),
            "rate used": text(row["peak_learning_rate"], ".2e"),
            "best rate": text(row["law_rate"], ".2e"),
            "costs (nats)": text(row["excess"], ".4f"),
            "at most": text(row["at_most"], ".4f"),
            "tuned there": "yes" if row["tuned"] else "no: extrapolated",
        }
        for row in law.details["used"]
    ]


def _block(law: LawResult) -> str:
    """One line of YAML, '' where the law is not known or not to be relied on."""
    found = to_be_relied_on(law)
    if found is None:
        return ""
    return "{" + ", ".join(f"{name}: {value:.4g}" for name, value in found.items()) + "}"
