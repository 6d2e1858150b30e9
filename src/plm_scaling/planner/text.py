"""Plans as text for the terminal."""

from plm_scaling.common.progress import short_number
from plm_scaling.laws.stats.intervals import interval_text, percent
from plm_scaling.planner.plan import Estimate, Plan, nearest_shape


def plan_text(plan: Plan) -> str:
    """The plan as a short table, its reasons and its warnings; a guess says so, and why, first."""
    epochs = (
        "" if plan.epochs is None else f", {plan.epochs:.3g} epochs of {plan.unique_tokens:.3g}"
    )
    size, shape = nearest_shape(plan.n_params[0])
    rows = [
        ("non-embedding parameters N", _estimate(plan.n_params, plan.level)),
        ("training tokens D", _estimate(plan.tokens, plan.level) + epochs),
        ("expected loss (nats/token)", _estimate(plan.loss, plan.level, "{:.3f}")),
        (
            "nearest shape",
            f"{size}: {shape.layers} layers, width {shape.hidden}, FFN {shape.ffn}, "
            f"{shape.heads} heads; N = {shape.n_params('study'):,}",
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
        return f"{form.format(value)} {interval_text(interval, form, level)}"
    ends = interval and " to ".join(map(short_number, interval))
    return f"{short_number(value)} {f'({percent(level)} {ends})' if ends else '(no interval)'}"
