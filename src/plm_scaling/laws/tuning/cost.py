"""What values cost that are not the law's: those that a sweep used, and one that is predicted."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from plm_scaling.laws.details import NotAvailable, not_available
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Check
from plm_scaling.laws.tuning.details import HeldOutBatch, HeldOutRate, HeldOutSetting, Used
from plm_scaling.laws.tuning.law import Best
from plm_scaling.laws.tuning.line import Line

AT_LARGEST = 1.05  # groups within this of the largest compute are of it


def used_values(
    best: Best, drawn: Floats, runs: Sequence[Floats], swept: NDArray[np.bool_]
) -> Iterator[tuple[float, float, Used]]:
    """Each different (N, D, batch, value) of the `swept` of `runs` (four arrays (n,)), by rising
    compute and size: the value, the law's, and what it costs. Nothing without a law."""
    if best.undetermined:
        return
    line = best.line
    rows, counts = np.unique(np.stack(runs, axis=1)[swept], axis=0, return_counts=True)
    order = np.lexsort((rows[:, 0], rows[:, 0] * rows[:, 1]))
    log_n, log_d, log_b, log_x = np.log(rows[order]).T
    terms = line.terms(log_n, log_d, log_b - np.log(best.usual))
    q = best.bowls.best[2]
    law = terms @ line.parameters
    excess = q * (log_x - law) ** 2
    spread = q * (log_x[:, None] - terms @ drawn.T) ** 2
    tuned = _within(log_n, line.log_n) & _within(log_d, line.log_d)
    for i, (n, d, _, value) in enumerate(rows[order]):
        costs: Used = {
            "n_params": float(n),
            "tokens": float(d),
            "runs": int(counts[order][i]),
            "excess": float(excess[i]),
            "at_most": float(np.quantile(spread[i], best.level)) if len(drawn) else None,
            "tuned": bool(tuned[i]),
        }
        yield float(value), float(np.exp(law[i])), costs


def _within(values: Floats, known: Floats) -> NDArray[np.bool_]:
    """Whether each lies among the known ones, up to rounding."""
    inside: NDArray[np.bool_] = (values > known.min() - 0.05) & (values < known.max() + 0.05)
    return inside


def held_out_rate(best: Best) -> HeldOutRate | NotAvailable:
    """The best rate at the largest compute, by the law of the others: the geometric mean of those
    there, if there are several."""
    found = _held_out(best)
    if not isinstance(found, tuple):
        return found
    costs, measured, predicted = found
    return {**costs, "measured_rate": measured, "predicted_rate": predicted}


def held_out_batch(best: Best) -> HeldOutBatch | NotAvailable:
    """The same of the best batch, tokens."""
    found = _held_out(best)
    if not isinstance(found, tuple):
        return found
    costs, measured, predicted = found
    return {**costs, "measured_batch": measured, "predicted_batch": predicted}


def _held_out(best: Best) -> tuple[HeldOutSetting, float, float] | NotAvailable:
    """What the prediction costs, the measured value and the predicted one."""
    line = best.line
    flops = 6 * np.exp(line.log_n + line.log_d)
    if not len(flops):
        return not_available(f"no (N, D) has a best {best.what} inside those tried")
    last = flops >= flops.max() / AT_LARGEST
    columns = (line.log_n, line.log_d, line.log_b, line.log_x)
    others = Line(*(column[~last] for column in columns))
    if not len(others.log_n) or others.freedom < 1 or others.undetermined:
        return not_available("the (N, D) of smaller compute determine no law")
    log_n, log_d, log_b, measured = (column[last] for column in columns)
    if others.names != line.names:
        return not_available("batches vary only at the largest compute")
    terms = others.terms(log_n, log_d, log_b)
    off = measured - terms @ others.parameters
    q = best.bowls.best[2]
    spread = np.linalg.pinv(others.terms(others.log_n, others.log_d, others.log_b))
    leverage = ((terms @ spread) ** 2).sum(axis=1)
    reach = student.ppf((1 + best.level) / 2, others.freedom)
    allowed = q * others.variance * (1 + leverage) * reach**2
    found: HeldOutSetting = {
        "status": Check.DONE,
        "fitted_on_flops": sorted(float(c) for c in flops[~last]),
        "predicted_at_flops": float(flops[last].max()),
        "loss": {"excess": float(q * (off**2).mean()), "allowed_by_noise": float(allowed.mean())},
    }
    return found, float(np.exp(measured.mean())), float(np.exp((measured - off).mean()))
