"""Compare our parametric fit with scipy's L-BFGS-B from 4,500 starts and with `chinchilla` (PyPI).

OMP_NUM_THREADS=1 python benchmarks/fits.py --runs results/published/runs.csv --objective clm \
    --out TABLE.md [--starts 4500] [--chinchilla-python VENV/bin/python]

All methods get the same runs and are judged by the same objective, the sum of Huber(1e-3) of the
log loss. Times are CPU-seconds of one core, measured in this one run; a number that was measured on
a part and multiplied says so. Without --runs the data are synthetic (the surface of Besiroglu et
al. 2024, 250 runs, 1 % noise). `chinchilla` is no dependency: give an interpreter that has it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lbfgsb import hoffmann_starts, minimise

from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.parametric.optima import find_optima, resample_optima
from plm_scaling.laws.parametric.surface import Surface
from plm_scaling.laws.points import not_comparable, parametric_points
from plm_scaling.laws.stats.intervals import multiplicities
from plm_scaling.runs.tables import read_runs

DELTA = 1e-3
ALL_STARTS, RESAMPLES = 4500, 4000
REPEATS = 5
CHINCHILLA = Path(__file__).with_name("chinchilla_fit.py")


def synthetic_runs(n: int = 250, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N, D, L on the surface E=1.8172, A=482.01, B=2085.43, alpha=.3478, beta=.3658."""
    rng = np.random.default_rng(0)
    n_params = np.exp(rng.uniform(np.log(4e7), np.log(1.6e10), n))
    tokens = np.exp(rng.uniform(np.log(6e18), np.log(3e21), n)) / (6 * n_params)
    loss = 1.8172 + 482.01 / n_params**0.3478 + 2085.43 / tokens**0.3658
    return n_params, tokens, loss * np.exp(noise * rng.standard_normal(n))


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """CPU-seconds of the quickest of `repeats` calls, and the result."""
    best = np.inf
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        best = min(best, time.process_time() - started)
    return best, result


def excess(value: float, best: float) -> str:
    """How far an objective lies above the best, as a share."""
    return f"{value / best - 1:.1e}" if value > best * (1 + 1e-12) else "0"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="table of runs; without, synthetic ones")
    parser.add_argument("--objective", default="clm", choices=("clm", "mlm"))
    parser.add_argument("--starts", type=int, default=ALL_STARTS, help="fewer are multiplied up")
    parser.add_argument("--resamples", type=int, default=100, help="of scipy's; multiplied up")
    parser.add_argument("--chinchilla-python", type=Path, help="interpreter with chinchilla")
    parser.add_argument("--chinchilla-starts", type=int, default=2, help="per parameter, to the 5")
    parser.add_argument("--out", type=Path, help="write the table here as well")
    args = parser.parse_args()

    if args.runs is None:
        n_params, tokens, loss = synthetic_runs()
        title = f"synthetic, {len(loss)} runs"
    else:
        table = read_runs(args.runs)
        own = table[table["objective"] == args.objective]
        points = parametric_points(own[not_comparable(own) == ""])
        n_params, tokens, loss = points["n_params"], points["tokens"], points["loss"]
        title = f"{args.objective.upper()} runs of {args.runs.name}, {len(loss)} runs"
    surface = Surface.of(n_params, tokens, loss, DELTA)
    rows: list[tuple[str, str, float, str]] = []

    find_optima(surface)  # once before the clock: imports and first touches
    own_fit, optima = timed(lambda: find_optima(surface), REPEATS)
    best = optima[0].misfit
    starts = hoffmann_starts()
    chosen = starts[:: max(1, len(starts) // args.starts)][: args.starts]
    loop, found = timed(lambda: [minimise(surface, x) for x in chosen])
    loop_full, loop_note = loop, f"all {ALL_STARTS} starts"
    if len(chosen) < len(starts):
        loop_full = loop * len(starts) / len(chosen)
        loop_note = f"{len(chosen)} starts, times {len(starts) / len(chosen):.3g}"
    scipy_best = min(value for value, _ in found)
    reached = np.mean([value <= scipy_best * (1 + 1e-6) for value, _ in found])
    lowest = min(best, scipy_best)
    rows.append(("fit", "plm-scaling", own_fit, f"excess {excess(best, lowest)}"))
    note = f"excess {excess(scipy_best, lowest)}; {reached:.0%} of starts reach it; {loop_note}"
    rows.append(("fit", "scipy L-BFGS-B, analytic, ftol 1e-15, gtol 1e-12", loop_full, note))
    if args.chinchilla_python:
        rows.append(_chinchilla(args, surface, (n_params, tokens, loss), lowest))

    weights = multiplicities(len(loss), RESAMPLES, seed=1)
    own_boot, thetas = timed(lambda: resample_optima(surface, optima, weights), 2)
    warm = min(found)[1]
    some = weights[-args.resamples :]
    scipy_boot, refits = timed(lambda: [minimise(surface, warm, w) for w in some])
    ours = surface.misfit(thetas[-args.resamples :], some)
    theirs = np.array([value for value, _ in refits])
    note = (
        f"ours lower by over 1e-6 in {np.mean(theirs > ours * (1 + 1e-6)):.0%}, higher in "
        f"{np.mean(ours > theirs * (1 + 1e-6)):.0%} of {len(some)} resamples; times "
        f"{RESAMPLES / len(some):.3g}"
    )
    rows.append((f"{RESAMPLES:,} resamples", "plm-scaling", own_boot, "every basin ranked"))
    scaled = scipy_boot * RESAMPLES / len(some)
    rows.append((f"{RESAMPLES:,} resamples", "scipy, one start each (warm)", scaled, note))
    whole, _ = timed(
        lambda: fit_parametric(
            n_params, tokens, loss, bootstrap=RESAMPLES, near_frontier_nats=None
        ),
        2,
    )
    with_profile = "with profile over E, held-out check and frontier table"
    rows.append((f"fit_parametric, {RESAMPLES:,} resamples", "plm-scaling", whole, with_profile))

    own = {what: seconds for what, name, seconds, _ in rows if name == "plm-scaling"}
    lines = [
        f"### Parametric fit: {title}",
        "",
        "| | method | CPU-s | × ours | |",
        "|" + "---|" * 5,
    ]
    for what, name, seconds, note in rows:
        ratio = seconds / own[what]
        lines.append(f"| {what} | {name} | {seconds:.3g} | {ratio:,.3g} | {note} |")
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if args.out:
        args.out.write_text(text)


def _chinchilla(
    args: argparse.Namespace, surface: Surface, runs: tuple[np.ndarray, ...], lowest: float
) -> tuple[str, str, float, str]:
    """The package's own fit from a smaller grid of starts, multiplied up to 4,500."""
    request = {name: x.tolist() for name, x in zip(("N", "D", "loss"), runs, strict=True)}
    request["points"] = args.chinchilla_starts
    answer = subprocess.run(
        [args.chinchilla_python, CHINCHILLA],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    reply = json.loads(answer.stdout.splitlines()[-1])
    natural = np.array([reply["params"][k] for k in ("E", "A", "B", "alpha", "beta")])
    value = float(surface.misfit(surface.scaled(natural)[None])[0])
    starts = args.chinchilla_starts**5
    note = f"excess {excess(value, lowest)}; {starts} starts, times {ALL_STARTS / starts:.3g}"
    name = f"chinchilla {reply['version']} (log_huber)"
    return ("fit", name, reply["cpu_s"] * ALL_STARTS / starts, note)


if __name__ == "__main__":
    main()
