"""Runs with so few steps that a law of them may say more of warm-up than of size."""

from collections.abc import Iterable

STEPS, WARMUP_STEPS = 2000, 200  # fewer are suspect (docs/training.md)


def short_runs(steps: Iterable[tuple[float, float]]) -> str:
    """One line on how many runs have few of their (steps, warm-up steps); '' if none has, or if
    nothing is known (NaN)."""
    known = list(steps)
    few = sum(all_steps < STEPS for all_steps, _ in known)
    warm = sum(warmup < WARMUP_STEPS for _, warmup in known)
    if not few and not warm:
        return ""
    return (
        f"of {len(known)} runs {warm} have fewer than {WARMUP_STEPS} warm-up steps and {few} fewer "
        f"than {STEPS:,} in all: suspect as points of a law (docs/training.md)"
    )
