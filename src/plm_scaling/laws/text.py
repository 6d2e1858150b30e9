"""Laws as text: for the terminal, for the log, for Python."""

from html import escape

import pandas as pd

from plm_scaling.common.progress import many
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.selection import selection_words
from plm_scaling.laws.stats.intervals import interval_text, percent
from plm_scaling.laws.status import Minimum, Status
from plm_scaling.runs.tables import ANY_OBJECTIVE
from plm_scaling.study.laws import LAWS, OF_SCORES

WITHOUT = "no exponent: "


def law_text(law: LawResult) -> str:
    """`law_sentence`, every equation with its parameters and intervals, and the warnings."""
    lines = [law_sentence(law)]
    for name, equation in law.equations.items():
        lines.append(f"  {name} = {equation.form}")
        for parameter, value in equation.parameters.items():
            number = "not identified" if value is None else f"{value:.6g}"
            interval = interval_text(equation.interval[parameter], "{:.4g}", equation.level)
            lines.append(f"    {parameter:8} {number:>14}  {interval}")
    lines += [f"  warning: {warning}" for warning in law.warnings]
    return "\n".join(lines)


def law_sentence(law: LawResult) -> str:
    """One line: the headline parameter with its interval, the status of the fit, and why."""
    head = _name(law)
    if law.selection:
        head += f", {selection_words(law.selection)}"
    warned = f", {many(len(law.warnings), 'warning')}" if law.warnings else ""
    said = headline(law)
    # Of a law without exponent the reason begins with the same count of minima.
    why = law.reason.removeprefix(said.removeprefix(WITHOUT)).removeprefix("; ")
    why = f"; {why}" if why else ""
    return f"{head}: {said} ({_words(law.status)}{warned}){why}"


def _words(status: Status) -> str:
    return status.replace("_", " ")


def _name(law: LawResult) -> str:
    """'CLM isoflop', or without an objective where the table of runs had none."""
    objective = "" if law.objective == ANY_OBJECTIVE else law.objective
    return f"{objective.upper()} {law.law}".strip()


def headline(law: LawResult) -> str:
    """The main number of a law with its interval; of a law of scores, its verdicts."""
    if law.law == OF_SCORES:
        return str(law.details["headline"])
    entry, known = LAWS[law.law], law.equations
    if entry.otherwise and known[entry.otherwise[0]].parameters[entry.otherwise[1]] is not None:
        name, parameter, words = entry.otherwise
    else:
        name, parameter, words = entry.headline
    equation = known[name]
    value, interval = equation.parameters[parameter], equation.interval[parameter]
    if value is None:
        return _without_value(law, words)
    spread = "no interval"
    if interval is not None:
        spread = f"{percent(equation.level)} interval {interval[0]:.3g} to {interval[1]:.3g}"
    return f"{words.format(f'{value:.3g}')}, {spread}"


def _without_value(law: LawResult, words: str) -> str:
    """Why there is no main number; what status that is is said beside it."""
    minima = law.details.get("minima")
    if minima is None:
        return f"{words.format('?')}: no value from {law.n_points} points"
    accepted = sum(row["status"] == Minimum.ACCEPTED for row in minima)
    return f"{WITHOUT}{accepted} of {len(minima)} budgets have a minimum"


def law_lines(law: LawResult) -> list[str]:
    """Two or three lines: law and main number, the runs it rests on, whether there are warnings."""
    runs = selection_words(law.selection) if law.selection else f"{law.n_points} points"
    lines = [f"{_name(law)} law, {_words(law.status)}: {headline(law)}", runs]
    return lines + [f"{many(len(law.warnings), 'warning')}, in .warnings"] * bool(law.warnings)


def law_html(law: LawResult) -> str:
    """`law_lines` above the table of parameters, for notebooks."""
    text = "<br>".join(escape(line) for line in law_lines(law))
    return f"<p>{text}</p>{law_frame(law).to_html(index=False, na_rep='–')}"


def law_frame(law: LawResult) -> pd.DataFrame:
    """A row per parameter: equation, form, parameter, value, low and high of its interval."""
    rows = []
    for name, equation in law.equations.items():
        for parameter, value in equation.parameters.items():
            low, high = equation.interval[parameter] or (None, None)
            rows.append((name, equation.form, parameter, value, low, high))
    columns = ["equation", "form", "parameter", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype(dict.fromkeys(columns[3:], float))
