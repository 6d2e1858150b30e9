"""How often the laws' 95 % intervals hold the truth, and what their status says, in simulation.

OMP_NUM_THREADS=1 python benchmarks/coverage.py --out coverage.csv [--replicas 100] [--quick] \
    [--laws isoflop groups]

Sweeps are drawn from known surfaces with Gaussian noise in nats and fitted by the public functions.
The Markdown table gives coverage among all replicas with an interval / among the converged ones;
the CSV has every estimate. Some 20 CPU-minutes by default.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))
from synthetic import Surface

from plm_scaling.common.errors import LawError
from plm_scaling.laws import fit_isoflop, fit_parametric, fit_repeated
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Status

SURFACES = {
    "text": Surface(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),  # Hoffmann et al. 2022
    "protein": Surface(E=0.5, A=4.7, alpha=0.07, B=13.6, beta=0.12),
}
NOISE = (0.001, 0.003, 0.01)  # nats, of one run
BUDGETS = np.geomspace(1e18, 1e21, 6)
BEYOND = (3, 10)  # times the largest budget
R_D, R_N = 15.39, 5.31  # Muennighoff et al. 2023
A_OFF = 0.1
QUANTITIES = {
    "a": "a",
    "alpha": "α",
    "E": "E",
    "R_D": "R*_D",
    **{f"L{k}": f"L at {k}×" for k in BEYOND},
}


@dataclass(frozen=True)
class Case:
    """A law on one kind of sweep of a surface, with `noise` in nats."""

    law: str
    design: str
    surface: str
    noise: float


def isoflop_sweep(design: str, surface: Surface, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """N and D of runs in budgets."""
    flops, sizes = [], []
    even = np.geomspace(1 / 4, 4, 7)
    for i, budget in enumerate(BUDGETS):
        factors = {
            "even": even,
            "off-centre": even * np.geomspace(0.5, 2, len(BUDGETS))[i],
            "uneven": np.exp(np.log(4) * rng.uniform(-1, 1, rng.integers(6, 10))),
            "wing of short runs": np.append(even, [6, 10, 17, 30]),
        }[design]
        compute = budget * np.exp(0.3 * rng.standard_normal()) if design == "uneven" else budget
        sizes.append(surface.optimum(compute) * factors)
        flops.append(np.full(len(factors), compute))
    n, c = np.concatenate(sizes), np.concatenate(flops)
    return n, c / (6 * n)


def worth(total: Floats, unique: Floats, r_star: float) -> Floats:
    """D' of D tokens, U of them unique, or N' of N parameters (Muennighoff et al. 2023)."""
    unique = np.minimum(total, unique)
    return unique * (1 - r_star * np.expm1(-(total / unique - 1) / r_star))


def fit_sweep(case: Case, rng: np.random.Generator, options: dict[str, int]) -> LawResult:
    """One replica of an IsoFLOP sweep, fitted by `case.law`."""
    surface = SURFACES[case.surface]
    n, d = isoflop_sweep(case.design, surface, rng)
    loss = surface.loss(n, d) + case.noise * rng.standard_normal(len(n))
    if case.law == "isoflop":
        return fit_isoflop(n, d, 6 * n * d, loss, **options)
    return fit_parametric(n, d, loss, **options)


def fit_groups(case: Case, rng: np.random.Generator, options: dict[str, int]) -> LawResult:
    """20 runs of 15 checkpoints: the noise is between runs, within a run there is a third of it."""
    surface, runs, checkpoints = SURFACES[case.surface], 20, 15
    n = np.repeat(np.geomspace(2e7, 3e9, runs), checkpoints)
    most = np.repeat(20 * np.exp(rng.uniform(-1, 2, runs)), checkpoints)
    d = n * most * np.tile(np.geomspace(0.05, 1, checkpoints), runs)
    luck = np.repeat(rng.standard_normal(runs), checkpoints) + rng.standard_normal(len(n)) / 3
    loss = surface.loss(n, d) + case.noise * luck
    group = np.repeat([f"run {i}" for i in range(runs)], checkpoints)
    return fit_parametric(n, d, loss, group=group, **options)


def fit_repeats(case: Case, rng: np.random.Generator, options: dict[str, int]) -> LawResult:
    """Three amounts of unique tokens, for one to 60 epochs; sizes about those called for."""
    surface = SURFACES[case.surface]
    grid = product([0.3, 1, 3, 10], np.geomspace(1e9, 1e11, 3), [1, 2, 4, 10, 25, 60])
    factor, unique, epochs = np.array(list(grid)).T
    ratio = surface.alpha * surface.A / (surface.beta * surface.B)  # N_opt: αA/N^α = βB/D^β
    called_for = (ratio * unique**surface.beta) ** (1 / surface.alpha)
    n, d = called_for * factor, unique * epochs
    loss = surface.loss(worth(n, called_for, R_N), worth(d, unique, R_D))
    return fit_repeated(n, d, unique, loss + case.noise * rng.standard_normal(len(n)), **options)


SWEEPS = ("even", "off-centre", "uneven", "wing of short runs")
SURFACE = ("a", "alpha", "E")
FITS: dict[str, tuple[Callable[..., LawResult], tuple[str, ...], tuple[str, ...]]] = {
    "isoflop": (fit_sweep, SWEEPS, ("a",)),
    "parametric": (fit_sweep, SWEEPS, SURFACE),
    "groups": (fit_groups, ("20 runs of 15 checkpoints",), SURFACE),
    "repeated": (fit_repeats, ("up to 60 epochs",), ("R_D",)),
}


def truths(surface: Surface) -> dict[str, float]:
    """What the intervals should hold."""
    beyond = {f"L{k}": k * BUDGETS[-1] for k in BEYOND}
    sizes = {name: np.array(surface.optimum(c)) for name, c in beyond.items()}
    losses = {k: float(surface.loss(n, beyond[k] / (6 * n))) for k, n in sizes.items()}
    return {"a": surface.a, "alpha": surface.alpha, "E": surface.E, "R_D": R_D, **losses}


def answers(
    result: LawResult, names: tuple[str, ...]
) -> Iterator[tuple[str, float, tuple[float, float]]]:
    """Name, estimate and interval (an open end is infinite) of the parameters `names`, and of L."""
    for equation in result.equations.values():
        for name in {*names} & {*equation.parameters}:
            value, interval = equation.parameters[name], equation.interval[name]
            ends = interval or result.details.get("open_intervals", {}).get(name)
            if value is not None and ends:
                low, high = ends
                yield (
                    name,
                    value,
                    (-np.inf if low is None else low, np.inf if high is None else high),
                )
    rows = [r for r in result.details.get("frontier", []) if r["loss_interval"]]
    for k in BEYOND if rows else ():
        at = np.log(k * BUDGETS[-1])
        log_c = np.log([r["flops"] for r in rows])
        columns = [r["loss"] for r in rows], *zip(*(r["loss_interval"] for r in rows), strict=True)
        value, low, high = (float(np.interp(at, log_c, column)) for column in columns)
        yield f"L{k}", value, (low, high)


def simulate(case: Case, replicas: int, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Rows of all replicas of a case: one per quantity, or one without if there is none."""
    fit, _, names = FITS[case.law]
    truth = truths(SURFACES[case.surface])
    rows = []
    for replica in range(replicas):
        row = {**vars(case), "replica": replica, "quantity": ""}
        rng = np.random.default_rng([seed, replica])
        try:
            result = fit(case, rng, {"bootstrap": resamples, "seed": seed + replica})
        except LawError as error:
            rows.append({**row, "status": f"refused: {error}"})
            continue
        row["status"] = str(result.status)
        found = [
            {**row, "quantity": q, "truth": truth[q], "estimate": value, "low": low, "high": high}
            for q, value, (low, high) in answers(result, names)
        ]
        rows += found or [row]
    return rows


def table(rows: pd.DataFrame) -> str:
    """The Markdown table: a line per case."""
    head = ["law", "sweep", "surface", "noise", *QUANTITIES.values()]
    head += ["converged", "not identified", "contradicted", f"converged, a off by > {A_OFF}"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    covered = rows["truth"].between(rows["low"], rows["high"])
    rows = rows.assign(covered=covered, converged=rows["status"] == Status.CONVERGED)
    for names, own in rows.groupby(["law", "design", "surface", "noise"], sort=False):
        once = own.drop_duplicates("replica")
        cells = []
        for quantity in QUANTITIES:
            known = own[own["quantity"] == quantity]
            shares = [_share(part["covered"]) for part in (known, known[known["converged"]])]
            cells.append(" / ".join(shares) if len(known) else "")
        off = own[(own["quantity"] == "a") & own["converged"]]
        wrong = int(((off["estimate"] - off["truth"]).abs() > A_OFF).sum())
        statuses = [Status.CONVERGED, Status.NOT_IDENTIFIED, Status.CONTRADICTED]
        cells += [_share(once["status"] == status) for status in statuses]
        cells.append(f"{wrong / len(once):.2f}")
        lines.append("| " + " | ".join([*map(str, names), *cells]) + " |")
    return "\n".join(lines) + "\n"


def _share(hits: "pd.Series[bool]") -> str:
    return f"{hits.mean():.2f}" if len(hits) else "–"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV of every estimate")
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--laws", nargs="+", choices=FITS, default=list(FITS))
    parser.add_argument(
        "--quick", action="store_true", help="one replica at one noise: does it run"
    )
    args = parser.parse_args(arguments)
    replicas, noises = (1, NOISE[1:2]) if args.quick else (args.replicas, NOISE)
    cases = [
        Case(law, design, surface, noise)
        for law in args.laws
        for design, surface, noise in product(FITS[law][1], SURFACES, noises)
    ]
    work = partial(
        simulate, replicas=replicas, resamples=100 if args.quick else args.resamples, seed=args.seed
    )
    with ProcessPoolExecutor(args.processes) as pool:
        rows = pd.DataFrame([row for found in pool.map(work, cases) for row in found])
    rows.to_csv(args.out, index=False)
    sys.stdout.write(table(rows))
    times = os.times()
    sys.stderr.write(f"{sum(times[:4]):.0f} CPU-seconds\n")


if __name__ == "__main__":
    main()
