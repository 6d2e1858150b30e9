"""Answers as text for the terminal."""

import math

from plm_scaling.common.progress import short_bytes, short_number
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.planner.answer import Answer
from plm_scaling.planner.laws import Estimate
from plm_scaling.planner.training import ShapeRow

HEADINGS = (
    *("shape", "layers", "width", "FFN", "heads", "N", "D", "loss", "steps", "batch", "lr"),
    *("TP·PP·DP", "rows", "memory", "days"),
)
SAME_LOSS = 5e-4  # nats


def answer_text(answer: Answer) -> str:
    """A short table, the shapes, what is said of them; a guess says so, and why, first."""
    lines = [f"a guess: {'; '.join(answer.guesses)}"] if answer.guesses else []
    lines.append(f"{answer.objective.upper()} by {answer.law}:")
    lines += [f"  {name:27} {text}" for name, text in _rows(answer)]
    if answer.shapes:
        table = [HEADINGS, *map(_shape, answer.shapes)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  " + _line(row, widths) for row in table]
    lines.append(f"  how sure: {answer.how_sure}")
    lines += [f"  note: {note}" for note in answer.notes]
    lines += [f"  warning: {warning}" for warning in answer.warnings]
    return "\n".join(lines)


def _rows(answer: Answer) -> list[tuple[str, str]]:
    n, tokens, time = answer.n_params, answer.tokens, answer.time
    ratio = f", {short_number(tokens.value / n.value)} a parameter"
    assumed = " (assumed)" if time.utilisation_assumed else ""
    epochs = "" if answer.epochs is None else f", {answer.epochs:.3g} epochs"
    rows = [
        ("training FLOPs C = 6·N·D", _estimate(answer.flops, answer.level, "{:.3g}")),
        ("non-embedding parameters N", _estimate(n, answer.level)),
        ("training tokens D", _estimate(tokens, answer.level) + ratio + epochs),
        ("loss (nats/token)", _estimate(answer.loss_nats_per_token, answer.level, "{:.3f}")),
        (
            "time",
            f"{_duration(time.days * 24)} on {time.gpus}x{time.gpu} at "
            f"{percent(time.utilisation)} of their peak{assumed}: "
            f"{_plain(time.gpu_hours, 2)} GPU-hours",
        ),
    ]
    if (off := answer.off_optimum) is not None:
        share = off.equivalent_flops / answer.flops.value
        rows.append(
            (
                "off the optimum",
                f"{off.nats_per_token:.3f} nats above the best run of this compute, on fresh "
                f"tokens; as good as that of {off.equivalent_flops:.3g} FLOPs ({percent(share)})",
            )
        )
    if (serving := answer.serving) is not None:
        rows.append(
            (
                "with serving",
                f"{serving.total_flops:.3g} FLOPs, of which {serving.flops:.3g} for "
                f"{short_number(serving.tokens)} tokens; the same loss from the "
                f"{short_number(serving.cheapest_training_n_params)} that train cheapest: "
                f"{serving.cheapest_training_total_flops:.3g}",
            )
        )
    return rows + _data_rows(answer)


def _data_rows(answer: Answer) -> list[tuple[str, str]]:
    if answer.data is None:
        return []
    known = {"ten times the data": answer.data.ten_times_the_data}
    known["half the compute"] = answer.data.half_the_compute
    rows = []
    for name, other in known.items():
        if other is None:
            continue
        rise = other.loss_nats_per_token - answer.loss_nats_per_token.value
        gives = f"loss {other.loss_nats_per_token:.3f} ({rise:+.3f})"
        if abs(rise) < SAME_LOSS:
            gives = f"the same loss for {other.flops:.3g} FLOPs"
        size = f"{short_number(other.n_params)} parameters"
        rows.append((name, f"{gives} with {size}, {other.epochs:.3g} epochs"))
    return rows


def _shape(row: ShapeRow) -> tuple[str, ...]:
    again = " again" if row.recompute else ""
    return (
        row.name,
        *map(str, (row.layers, row.hidden, row.ffn, row.heads)),
        short_number(row.n_params),
        short_number(row.tokens),
        "–" if row.loss_nats_per_token is None else f"{row.loss_nats_per_token:.3f}",
        str(row.steps),
        short_number(row.batch_tokens),
        f"{row.peak_learning_rate:.1e}",
        f"{row.tensor}·{row.pipeline}·{row.data}{again}",
        str(row.micro_batch_rows),
        short_bytes(row.memory_bytes_per_gpu),
        _plain(row.days, 2),
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True))


def _estimate(estimate: Estimate, level: float, form: str = "") -> str:
    def text(value: float) -> str:
        if math.isinf(value):
            return "no end"
        return form.format(value) if form else short_number(value)

    said = text(estimate.value)
    if estimate.interval is None:
        return said
    return f"{said} ({percent(level)} {' to '.join(map(text, estimate.interval))})"


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.2g} minutes"
    return f"{hours:.3g} hours" if hours < 48 else f"{_plain(hours / 24, 3)} days"


def _plain(value: float, digits: int) -> str:
    """Without an exponent, however large."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.{digits}g}"
