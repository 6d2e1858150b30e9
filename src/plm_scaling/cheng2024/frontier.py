"""The study's own N(C), D(C) and L(C), by its own procedures, from its released logs.

Two procedures led to published numbers, and both are reproduced exactly, oddities included:
the released notebook (`notebook_envelope`) and the seven minima behind Figure 2 and Table 2
(`read_minima`). We recommend `plm_scaling.laws.frontier.fit` instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import many
from plm_scaling.laws.frontier.variants import fit_linear, fit_log
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.power import PowerLaws

PETAFLOP_DAY = 8.64e19  # FLOPs; the notebook fits the loss against C in this unit
LAST_POINTS = 10
LARGEST_GAP = 1e18  # FLOPs
SWEEP_END = 1.1e21  # FLOPs; the IsoFLOP budgets end at 1e21
MINIMA_COLUMNS = ("objective", "flops", "size", "n_params", "loss")


@dataclass(frozen=True)
class FrontierPoints:
    """Points (n,) by rising compute: FLOPs, parameters, tokens and loss in nats/token."""

    flops: Floats
    n_params: Floats
    tokens: Floats
    loss: Floats

    def where(self, keep: Floats) -> "FrontierPoints":
        """The points for which `keep` (n,) is true."""
        return FrontierPoints(*(v[keep] for v in vars(self).values()))


def notebook_points(table: pd.DataFrame, objective: str) -> dict[str, Any]:
    """The arguments of `notebook_envelope` from `notebook.parquet`, the released files as they are.

    Only files whose name begins with "run" (not the 7.2B CLM run, "dep-run…"). N is what the
    notebook takes for the folder, right or not, and NaN for three folders that it does not know. D
    is the row number, counted from 0, times 300 steps of 512 sequences of 1024 tokens (1024
    sequences in folders named in B): one evaluation short, other batches overlooked, and wrong
    wherever a long log was thinned. No axis is corrected, no copy removed. Raises LawError if the
    table has no such file.
    """
    used = table[table["read"] & (table["objective"] == objective)]
    if used.empty:
        raise LawError(
            f"the notebook's points hold no file of '{objective}'; import the logs again"
        )
    return {
        "run": (used["folder"] + "/" + used["file"]).to_numpy(str),
        "n_params": used["nominal_n"].to_numpy(float),
        "tokens": used["nominal_tokens"].to_numpy(float),
        "flops": 1e9 * used["gflops_raw"].to_numpy(float),
        "loss": used["loss"].to_numpy(float),
    }


def notebook_envelope(
    run: NDArray[np.str_],
    n_params: Floats,
    tokens: Floats,
    flops: Floats,
    loss: Floats,
    largest_gap: float = LARGEST_GAP,
) -> FrontierPoints:
    """The points that the released notebook fits, by its exact rules; arrays (n,).

    Every run loses its first evaluation and then gives a target: the least C of its last ten. At
    each target every run with a known N offers its nearest evaluation, if that lies within
    `largest_gap` FLOPs (1e18 in the notebook: all of a run of 1e18 FLOPs, a fraction of a step of a
    10.7B one), and the lowest loss, a single evaluation, wins with its N and D; C is the target.

    Equal losses go to the run seen first, so the result depends on the order of the runs, which the
    notebook leaves to the file system. One 13.2M CLM log also lies in the folder for 6M; the stored
    outputs follow only if that folder is visited before the one for 13M, as in `notebook.parquet`.
    """
    rows, targets = _rows_and_targets(run, flops)
    best = np.full(len(targets), np.inf)
    winner = np.zeros(len(targets), np.int64)
    for r in rows:
        if np.isnan(n_params[r[0]]):
            continue
        nearest = _nearest(r, flops, targets)
        near = np.abs(flops[nearest] - targets) <= largest_gap
        wins = near & (loss[nearest] < best)
        best[wins], winner[wins] = loss[nearest[wins]], nearest[wins]
    found = np.isfinite(best)
    rows_of = winner[found]
    return FrontierPoints(targets[found], n_params[rows_of], tokens[rows_of], best[found])


def rows_read(run: NDArray[np.str_], flops: Floats) -> NDArray[np.bool_]:
    """Which evaluations (n,) `notebook_envelope` reads, at any gap; the others change nothing."""
    read = np.zeros(len(run), bool)
    rows, targets = _rows_and_targets(run, flops)
    for r in rows:
        read[[r[0] - 1, *r[-LAST_POINTS:], *_nearest(r, flops, targets)]] = True
    return read


def _rows_and_targets(
    run: NDArray[np.str_], flops: Floats
) -> tuple[list[NDArray[np.int64]], Floats]:
    """The rows of each run but its first, in the order of runs, and the compute values (FLOPs)."""
    rows = [np.flatnonzero(run == name)[1:] for name in dict.fromkeys(run.tolist())]
    rows = [r for r in rows if len(r)]
    return rows, np.unique([flops[r][-LAST_POINTS:].min() for r in rows])


def _nearest(rows: NDArray[np.int64], flops: Floats, targets: Floats) -> NDArray[np.int64]:
    """Of a run's `rows` the nearest to each target."""
    nearest: NDArray[np.int64] = rows[np.abs(flops[rows] - targets[:, None]).argmin(axis=1)]
    return nearest


def read_minima(path: Path, objective: str) -> FrontierPoints:
    """The seven minima behind Figure 2 and Table 2 (resources/published/minima.tsv).

    Each is the size with the lowest loss of one IsoFLOP budget in the authors' hand-entered table,
    which their repository gave later (analysis/isoflop_uncertainty.py); D = C/(6·N). N is the
    table's own count, as above. Raises LawError naming the file and what is wrong with it.
    """
    if not path.is_file():
        raise LawError(f"{path}: no such table of minima; it ships in resources/published/")
    table = pd.read_csv(path, sep="\t", comment="#")
    if missing := [c for c in MINIMA_COLUMNS if c not in table.columns]:
        raise LawError(f"{path}: {many(len(missing), 'column')} missing: {', '.join(missing)}")
    table = table[table["objective"] == objective].sort_values("flops")
    if len(table) < 2:
        raise LawError(f"{path}: {len(table)} minima for '{objective}'; a power law needs two")
    c, n, loss = (table[name].to_numpy(float) for name in ("flops", "n_params", "loss"))
    return FrontierPoints(c, n, c / (6 * n), loss)


def published_variants(
    notebook: pd.DataFrame, corrected: dict[str, Any], minima: Path, objective: str
) -> list[dict[str, Any]]:
    """Both published procedures, each as published and with what they rest on changed.

    `notebook` is `notebook.parquet`; `corrected` the arguments of `fit_frontier` from the imported
    runs, to which the notebook's rule is applied as well. Rows are as in `details["variants"]` of a
    frontier law, without intervals (the study gives none): fitted in linear space as published and
    in log-log, with all points, without that of largest compute, and without those beyond the
    IsoFLOP sweep.
    """
    sources = {
        "notebook": notebook_envelope(**notebook_points(notebook, objective)),
        "notebook's rule on corrected runs": notebook_envelope(**corrected),
        "minima of Table 2": read_minima(minima, objective),
    }
    rows = []
    for source, points in sources.items():
        subsets = {
            "all": np.full(len(points.flops), True),
            "without the point of largest compute": points.flops < points.flops.max(),
            f"C <= {SWEEP_END:.2g}": points.flops <= SWEEP_END,
        }
        for subset, keep in subsets.items():
            if subset != "all" and keep.all():
                continue
            for space, fit in (("linear", fit_linear), ("log", fit_log)):
                row = {"source": source, "points": subset, "space": space}
                rows.append(row | _laws(points.where(keep), fit, in_days=source == "notebook"))
    return rows


def _laws(
    points: FrontierPoints, fit: Callable[[Floats, Floats, Floats], PowerLaws], in_days: bool
) -> dict[str, Any]:
    """k and exponent of N, D and L; L against C in petaFLOP-days where the notebook does so."""
    laws: dict[str, Any] = {"n_points": len(points.flops)}
    unit = PETAFLOP_DAY if in_days else 1.0
    weights = np.ones(len(points.flops))
    for name, power, x, y in (
        ("N", "a", points.flops, points.n_params),
        ("D", "b", points.flops, points.tokens),
        ("L", "c", points.flops / unit, points.loss),
    ):
        law = fit(x, y, weights)
        argument = "(C/8.64e19)" if name == "L" and in_days else "C"
        laws[name] = {
            "form": f"k*{argument}^{power}",
            "k": float(np.exp(law.log_k[0])),
            power: float(law.exponent[0]),
        }
    return laws
