"""Laws as text for the terminal."""

from plm_scaling.laws.result import LawResult
from plm_scaling.laws.selection import selection_words
from plm_scaling.laws.stats.intervals import interval_text


def law_text(law: LawResult) -> str:
    """Every equation with its parameters and intervals, the status and the warnings."""
    runs = f"{selection_words(law.selection)}, " if law.selection else ""
    lines = [f"{law.objective} {law.law}: {law.status}, {runs}{law.n_points} points"]
    for name, equation in law.equations.items():
        lines.append(f"  {name} = {equation.form}")
        for parameter, value in equation.parameters.items():
            number = "not identified" if value is None else f"{value:.6g}"
            interval = interval_text(equation.interval[parameter], "{:.4g}", equation.level)
            lines.append(f"    {parameter:8} {number:>14}  {interval}")
    lines += [f"  warning: {warning}" for warning in law.warnings]
    return "\n".join(lines)
