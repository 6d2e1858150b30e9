"""A law as a card of the page: its equation, how sure it is and why, what checked it, its runs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from plm_scaling.laws.repeated.details import FormName
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.selection import selection_words
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.laws.status import Check, Status
from plm_scaling.laws.text import headline
from plm_scaling.report.parts.tables import DASH, equation_text, text
from plm_scaling.study.laws import BOTH, LAWS

STATUS_WORDS = {
    Status.CONVERGED: "converged",
    Status.TWO_POINTS: "two points, no residual",
    Status.AT_BOUND: "parameter at its bound",
    Status.CONTRADICTED: "contradicted by a check",
    Status.NOT_IDENTIFIED: "not identified",
}
HELD_OUT = {  # predicted − measured losses of a check
    "difference": "the loss {:+.3f} nats off",
    "mean_error": "the loss {:+.3f} nats off on average",
    "rms_error": "rms error {:.3f} nats",
    "excess": "the rate that it gives costs {:.4f} nats",
}


@dataclass(frozen=True)
class Card:
    """What the page shows of one law; `equations` are rows of a table."""

    title: str
    about: str
    sound: bool
    status: str
    headline: str
    reason: str
    held_out: str
    runs: str
    equations: list[dict[str, str]]
    method: str
    warnings: list[str]


def cards(laws: Iterable[LawResult]) -> list[Card]:
    """A card per law, in the given order."""
    return [
        Card(
            title=title(law),
            about=LAWS[law.law].about,
            sound=law.status == Status.CONVERGED,
            status=STATUS_WORDS[law.status],
            headline=headline(law),
            reason=law.reason,
            held_out=_held_out(law.details.get("held_out", {})),
            runs=selection_words(law.selection) if law.selection else f"{law.n_points} points",
            equations=equation_rows(law),
            method=law.method,
            warnings=[warning for warning in law.warnings if warning != law.reason],
        )
        for law in laws
    ]


def counted(laws: Collection[LawResult]) -> str:
    """'12 laws: 5 converged, 6 not identified, 1 contradicted by a check'."""
    words = [STATUS_WORDS[law.status] for law in laws]
    said = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words)))
    said = f"all {words[0]}" if len({*words}) == 1 < len(words) else said
    return f"{len(laws)} law{'s' if len(laws) > 1 else ''}: {said}"


def title(law: LawResult) -> str:
    """'CLM IsoFLOP'."""
    who = "CLM and MLM" if law.objective == BOTH else law.objective.upper()
    return f"{who} {name_of(law.law)}"


def name_of(law: str) -> str:
    """The law as text names it: 'IsoFLOP', 'mask ratio'."""
    return law.replace("isoflop", "IsoFLOP").replace("_", " ")


def equation_rows(law: LawResult) -> list[dict[str, str]]:
    """One row per equation that the law has: its parameters with their intervals, or a dash."""
    rows = []
    for name, equation in law.equations.items():
        if name == "excess" and law.details.get("form") == FormName.WORTH:
            continue  # of the form that was not chosen
        form, parameters = equation_text(equation)
        known = any(value is not None for value in equation.parameters.values())
        said = parameters if known else DASH
        level = percent(equation.level)
        rows.append({"equation": f"{name} = {form}", f"parameters [{level} interval]": said})
    return rows


def _held_out(check: dict[str, Any]) -> str:
    """What the law predicts for the runs of most compute, fitted without them."""
    if check.get("status") != Check.DONE:
        return str(check.get("why", "none"))
    loss, said = check["loss"], []
    if "n_params" in check:
        said.append(f"N {check['n_params']['ratio']:.2f} times the one found")
    if "ratio" in check:
        found = check["ratio"]
        said.append(f"mask ratio {found['predicted']:.3g}, found {text(found['measured'], '.3g')}")
    said += [form.format(loss[error]) for error, form in HELD_OUT.items() if error in loss]
    return f"predicted for {check['predicted_at_flops']:.2g} FLOPs: {', '.join(said)}"
