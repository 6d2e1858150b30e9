"""The report's part on learning rates and batches: the best, and what those of the sweep cost."""

from collections.abc import Sequence
from typing import Any

from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Check, Status
from plm_scaling.laws.tuning.details import ConfigBlock, batch_to_be_relied_on, to_be_relied_on
from plm_scaling.report.parts.tables import DASH, count, text


def tuning_part(laws: Sequence[LawResult]) -> dict[str, Any]:
    """What the page says of the laws `tuning`: rows of the best rates and of the rates that were
    used, the same of batches where several were tried, and the block for the config of a later
    stage."""
    own = [law for law in laws if law.law == "tuning"]
    varied = [law for law in own if _batch(law)["status"] != Check.NOT_AVAILABLE]
    return {
        "best": [row for law in own for row in _best_rows(law)],
        "used": [row for law in own for row in _used_rows(law)],
        "batches": [row for law in varied for row in _batch_rows(law)],
        "used_batches": [row for law in varied for row in _used_batch_rows(law)],
        "no_batch": [
            f"{law.objective.upper()}: the law of the best batch is "
            f"{_batch(law)['status'].replace('_', ' ')}: {_batch(law)['reason']}"
            for law in varied
            if _batch(law)["status"] != Status.CONVERGED
        ],
        "block": _block(own),
    }


def _batch(law: LawResult) -> dict[str, Any]:
    """The law of the batch; files of earlier versions have none."""
    found: dict[str, Any] = law.details.get("batch", {"status": Check.NOT_AVAILABLE})
    return found


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


def _batch_rows(law: LawResult) -> list[dict[str, str]]:
    return [
        {
            "objective": law.objective.upper(),
            "N": count(row["n_params"]),
            "tokens": count(row["tokens"]),
            "batches": ", ".join(count(tried["batch_tokens"]) for tried in row["batches"]),
            "best batch": _known(row["best_batch"]),
            "by the law": _known(row["law_batch"]),
            "the law costs (nats)": text(row["excess"], ".4f"),
            "loss": text(row["loss"], ".4f"),
        }
        for row in _batch(law)["groups"]
    ]


def _used_batch_rows(law: LawResult) -> list[dict[str, str]]:
    return [
        {
            "objective": law.objective.upper(),
            "N": count(row["n_params"]),
            "tokens": count(row["tokens"]),
            "runs": str(row["runs"]),
            "batch used": count(row["batch_tokens"]),
            "best batch": count(row["law_batch"]),
            "costs (nats)": text(row["excess"], ".4f"),
            "at most": text(row["at_most"], ".4f"),
            "tuned there": "yes" if row["tuned"] else "no: extrapolated",
        }
        for row in _batch(law)["used"]
    ]


def _known(value: float | None) -> str:
    return DASH if value is None else count(value)


def _block(laws: Sequence[LawResult]) -> str:
    """The YAML of `training`, without what is not known or not to be relied on; '' if that is all.

    Each objective has its rate; batches serve all, so they are by the first law that has them."""
    rates = [(law.objective, rate) for law in laws if (rate := to_be_relied_on(law))]
    batches = [(law.objective, batch) for law in laws if (batch := batch_to_be_relied_on(law))]
    lines = []
    if rates:
        lines.append("  peak_learning_rate:")
        lines += [f"    {objective}: {_yaml(rate)}" for objective, rate in rates]
    if batches:
        objective, batch = batches[0]
        if len(laws) > 1:
            lines.append(
                f"  # batches serve both objectives; these are by {objective.upper()}'s law"
            )
        lines.append(f"  batch_tokens: {_yaml(batch)}")
        lines += [f"  # by {other.upper()}'s law: {_yaml(batch)}" for other, batch in batches[1:]]
    return "\n".join(["training:", *lines]) if lines else ""


def _yaml(block: ConfigBlock) -> str:
    return "{" + ", ".join(f"{name}: {value:.4g}" for name, value in block.items()) + "}"
