"""What rates cost that are not the law's: those that a sweep used, and one that is predicted."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from plm_scaling.laws.details import NotAvailable, not_available
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Check
from plm_scaling.laws.tuning.details import HeldOutRate, UsedRow
from plm_scaling.laws.tuning.line import Line
from plm_scaling.laws.tuning.rates import Bowls

AT_LARGEST = 1.05  # groups within this of the largest compute are of it


def used_rows(
    bowls: Bowls,
    line: Line | None,
    drawn: Floats,
    usual: float,
    level: float,
    runs: tuple[Floats, Floats, Floats, Floats],
    swept: NDArray[np.bool_],
) -> list[UsedRow]:
    """A row for each different (N, D, batch, rate) of the `swept` of `runs` (arrays (n,) of these
    four), by rising compute and size; none without a law."""
    if line is None:
        return []
    used, counts = np.unique(np.stack(runs, axis=1)[swept], axis=0, return_counts=True)
    order = np.lexsort((used[:, 0], used[:, 0] * used[:, 1]))
    rows: list[UsedRow] = []
    log_n, log_d, log_b, log_rate = np.log(used[order]).T
    terms = line.terms(log_n, log_d, log_b - np.log(usual))
    q = bowls.best[2]
    law = terms @ line.parameters
    excess = q * (log_rate - law) ** 2
    spread = q * (log_rate[:, None] - terms @ drawn.T) ** 2
    tuned = _within(log_n, line.log_n) & _within(log_d, line.log_d)
    for i, count in enumerate(counts[order]):
        rows.append(
            {
                "n_params": float(used[order][i, 0]),
                "tokens": float(used[order][i, 1]),
                "peak_learning_rate": float(used[order][i, 3]),
                "runs": int(count),
                "law_rate": float(np.exp(law[i])),
                "excess": float(excess[i]),
                "at_most": float(np.quantile(spread[i], level)) if len(drawn) else None,
                "tuned": bool(tuned[i]),
            }
        )
    return rows


def _within(values: Floats, known: Floats) -> NDArray[np.bool_]:
    """Whether each lies among the known ones, up to rounding."""
    inside: NDArray[np.bool_] = (values > known.min() - 0.05) & (values < known.max() + 0.05)
    return inside


def held_out(bowls: Bowls, line: Line, usual: float, level: float) -> HeldOutRate | NotAvailable:
    """The best rate at the largest compute, by the law of the others: the geometric mean of those
    there, if there are several."""
    flops = 6 * np.exp(line.log_n + line.log_d)
    if not len(flops):
        return not_available("no (N, D) has a best rate inside those tried")
    last = flops >= flops.max() / AT_LARGEST
    columns = (line.log_n, line.log_d, line.log_b, line.log_rate)
    others = Line(*(column[~last] for column in columns))
    if not len(others.log_n) or others.freedom < 1 or others.undetermined:
        return not_available("the (N, D) of smaller compute determine no law")
    log_n, log_d, log_b, measured = (column[last] for column in columns)
    if others.names != line.names:
        return not_available("batches vary only at the largest compute")
    terms = others.terms(log_n, log_d, log_b)
    off = measured - terms @ others.parameters
    q = bowls.best[2]
    spread = np.linalg.pinv(others.terms(others.log_n, others.log_d, others.log_b))
    leverage = ((terms @ spread) ** 2).sum(axis=1)
    reach = student.ppf((1 + level) / 2, others.freedom)
    allowed = q * others.variance * (1 + leverage) * reach**2
    return {
        "status": Check.DONE,
        "fitted_on_flops": sorted(float(c) for c in flops[~last]),
        "predicted_at_flops": float(flops[last].max()),
        "measured_rate": float(np.exp(measured.mean())),
        "predicted_rate": float(np.exp((measured - off).mean())),
        "loss": {
            "excess": float(q * (off**2).mean()),
            "allowed_by_noise": float(allowed.mean()),
        },
    }
