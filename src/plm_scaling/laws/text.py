"""Laws and plans as text for the terminal."""

from plm_scaling.laws.intervals import Interval, percent
from plm_scaling.laws.plan import Estimate, Plan
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.selection import selection_words
from plm_scaling.progress import short_number


def law_text(law: LawResult) -> str:
    """Every equation with its parameters and intervals, the status and the warnings."""
    runs = f"{selection_words(law.selection)}, " if law.selection else ""
    lines = [f"{law.objective} {law.law}: {law.status}, {runs}{law.n_points} points"]
    for name, equation in law.equations.items():
        lines.append(f"  {name} = {equation.form}")
        for parameter, value in equation.parameters.items():
            number = "not identified" if value is None else f"{value:.6g}"
            interval = _interval(equation.interval[parameter], "{:.4g}", equation.level)
            lines.append(f"    {parameter:8} {number:>14}  {interval}")
    lines += [f"  warning: {warning}" for warning in law.warnings]
    return "\n".join(lines)


def plan_text(plan: Plan) -> str:
    """The plan as a short table, its reasons and its warnings; a guess says so, and why, first."""
    epochs = (
        "" if plan.epochs is None else f", {plan.epochs:.3g} epochs of {plan.unique_tokens:.3g}"
    )
    rows = [
        ("non-embedding parameters N", _estimate(plan.n_params, plan.level)),
        ("training tokens D", _estimate(plan.tokens, plan.level) + epochs),
        ("expected loss (nats/token)", _estimate(plan.loss, plan.level, "{:.3f}")),
        (
            "nearest shape",
            f"{plan.size}: {plan.shape.layers} layers, width {plan.shape.hidden}, FFN "
            f"{plan.shape.ffn}, {plan.shape.heads} heads; N = {plan.shape.n_params('study'):,}",
        ),
        (
            "cost",
            f"{plan.gpu_hours:,.0f} {plan.gpu}-hours at {percent(plan.utilisation)} of its peak "
            "in 16 bit",
        ),
    ]
    lines = [f"a guess: {'; '.join(plan.guesses)}"] if plan.guesses else []
    lines.append(
        f"{plan.objective.upper()} with {plan.flops:.3g} FLOPs (6·N·D), from {plan.source}:"
    )
    lines += [f"  {name:27} {text}" for name, text in rows]
    lines += [f"  note: {note}" for note in plan.notes]
    lines += [f"  warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _estimate(estimate: Estimate, level: float, form: str = "") -> str:
    value, interval = estimate
    if form:
        return f"{form.format(value)} {_interval(interval, form, level)}"
    ends = (
        None if interval is None else f"{short_number(interval[0])} to {short_number(interval[1])}"
    )
    spread = "(no interval)" if ends is None else f"({percent(level)} {ends})"
    return f"{short_number(value)} {spread}"


def _interval(interval: Interval | None, form: str, level: float) -> str:
    if interval is None:
        return "(no interval)"
    return f"({percent(level)} {form.format(interval[0])} to {form.format(interval[1])})"
