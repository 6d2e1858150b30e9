"""A study in the middle of its training, as its files have it then, and a server of it."""

import json
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import synthetic
from machines import machine
from snakemake_says import Snakemake
from study import write_forecasts

from plm_scaling.forecasts.record import read_forecast
from plm_scaling.study.sweep_table import read_sweep
from plm_scaling.sweep.order import write_estimates
from plm_scaling.sweep.schedule import Job
from plm_scaling.train.output.steps import StepFile
from plm_scaling.watch.places import Place
from plm_scaling.watch.server import Server

RUNNING, STOPPED, WAITING, FAILED, DIVERGED = "clm014", "clm013", "mlm028", "mlm029", "mlm027"
RULES = {"deduplicate": 1, "score_part": 4, "train_cell": 5}
WHY = "error: loss <script>alert('x')</script> & more"
STEPS = 400


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server of the folder's studies while the block runs."""
    with Server(Place(folder), 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def write_half_done(folder: Path) -> Snakemake:
    """A study of 30 cells of which one trains, in a run of Snakemake that has begun."""
    results = folder / "results/demo"
    cells = read_sweep(synthetic.write_study(results, noise=0.001))
    write_forecasts(results)
    write_forecast_curve(results / f"forecasts/{RUNNING}.json")
    write_estimates({name: Job(1, 1.0) for name in cells}, machine(), results / "estimates.json")
    for name in (WAITING, FAILED):
        shutil.rmtree(results / "runs" / name)
    synthetic.write_cell(results / "runs" / DIVERGED, cells[DIVERGED], 3.0, status="diverged")
    write_running(results, RUNNING)
    write_running(results, STOPPED, now=time.time() - 3600)
    log = folder / f"logs/demo/train/{FAILED}.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"2026-01-01 00:00:00,000 ERROR {WHY}\n")
    (folder / "logs/select.log").write_text("2026-01-01 00:00:00,000 INFO [select] 40 % of 2M\n")
    run = Snakemake(folder, RULES)
    run.starts(1, "deduplicate", "results/demo/dedup")
    run.finishes(1)
    for number in (2, 3):
        run.starts(number, "score_part", f"results/demo/{number}", ["logs/select.log"])
    run.finishes(2)
    for number, cell in ((4, RUNNING), (5, FAILED)):
        run.starts(number, "train_cell", f"results/demo/runs/{cell}/result.json")
    output = f"results/demo/runs/{FAILED}/result.json"
    run.fails(5, "train_cell", output, [str(log.relative_to(folder))])
    return run


def write_forecast_curve(path: Path) -> None:
    """Give a forecast a curve, which is that of `synthetic.write_cell`."""
    made = read_forecast(path)
    path.unlink()
    ends = {
        name: value for name, value in made.loss.items() if name in ("predicted", "low", "high")
    }
    above = {k / 20: 0.9 * (math.exp(-k / 4) - math.exp(-5)) for k in range(1, 21)}
    curve = [
        {"share": share, **{name: value + more for name, value in ends.items()}}
        for share, more in above.items()
    ]
    replace(made, curve=curve).write(path)


def write_running(results: Path, name: str, now: float | None = None, share: float = 0.5) -> None:
    """Take a finished cell back to a share of its tokens, at `now` (seconds since the epoch)."""
    now = time.time() if now is None else now
    cell, folder = read_sweep(results / "sweep.tsv")[name], results / "runs" / name
    if (folder / "result.json").exists():
        (folder / "result.json").unlink()
        lines = (folder / "curve.csv").read_text().splitlines(keepends=True)
        (folder / "curve.csv").write_text("".join(lines[:9]))
    steps = StepFile(folder / "steps.csv")
    steps.begin(0)
    tokens = [round(cell.tokens * share * k / STEPS) for k in range(1, STEPS + 1)]
    rest = [None] * (len(StepFile.columns) - 3)
    steps.append((k, at, 2.0 + 1000 / (at + 1000), *rest) for k, at in enumerate(tokens, 1))
    write_progress(folder, tokens[-1], now)


def write_progress(folder: Path, tokens: int, now: float) -> None:
    """What training says every two seconds."""
    progress = {"tokens": tokens, "loss": 2.5, "tokens_per_second": 4e3, "updated": now}
    (folder / "progress.json").write_text(json.dumps(progress))
    for file in (folder / "curve.csv", folder / "progress.json"):
        os.utime(file, (now, now))
