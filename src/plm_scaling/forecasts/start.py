"""The forecast of a cell that is about to be trained, before its first step.

Which cells: those of a budget that no finished run like them exceeds, from the runs of smaller
budgets; and those of sweep.extra; not those that start from the weights of another. The laws are
fitted by a program of its own (`forecasts.make`) with a limit of time, and whatever goes wrong
keeps no cell from training.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import read_json
from plm_scaling.common.progress import many
from plm_scaling.forecasts.asked import Asked, read_asked
from plm_scaling.forecasts.finished import finished_like
from plm_scaling.forecasts.record import LEAST_BUDGETS, Why, read_forecast
from plm_scaling.forecasts.task import Task
from plm_scaling.study.cell import Cell
from plm_scaling.tokens.format.manifest import data_sha256, read_manifest
from plm_scaling.train import STAGE_VERSION

logger = logging.getLogger("plm_scaling")

LIMIT_SECONDS = 60.0
NEW: Why = "new_largest_budget"


def forecast_before(cell: str, manifest: Path, out: Path) -> None:
    """Write results/{study}/forecasts/{cell}.json for a cell (JSON) that trains to `out`, its
    result.json in results/{study}/runs/{cell}/; not where its run has begun or is of no study."""
    try:
        _forecast(Cell.from_json(cell), manifest, out.absolute())
    except Exception as error:  # of any kind: training goes on without
        logger.warning("no forecast: %s: %s", type(error).__name__, error)


def _forecast(cell: Cell, manifest: Path, out: Path) -> None:
    results, folder = out.parents[2], out.parent
    told = results / "forecasts.json"
    if folder != results / "runs" / cell.cell or not told.is_file() or cell.init_from:
        return
    data = data_sha256(read_manifest(manifest), cell.mixture, cell.strata)
    identity = {"cell": cell.cell, "data_sha256": data, "stage_version": str(STAGE_VERSION)}
    path = results / "forecasts" / f"{cell.cell}.json"
    if _has_begun(folder / "starts.json", identity) or _is_there(path, identity):
        return
    asked = read_asked(told)
    if cell.cell not in asked.cells:  # of a config that was changed meanwhile, or it only tunes
        return
    alike = dict(finished_like(cell, data, folder.parent, asked.cells))
    if (why := _why(cell, alike, asked)) is None:
        return
    if why == NEW:  # cells of one budget may start after each other, and all are to be new
        alike = {n: one for n, one in alike.items() if one.flops_budget < cell.flops_budget}
    task = Task(cell, why, identity, list(alike), folder.parent, asked)
    budgets = len({other.flops_budget for other in alike.values()})
    if budgets < LEAST_BUDGETS:
        task.nothing(
            f"{many(len(alike), 'run')} like it finished before, at {many(budgets, 'budget')}; "
            f"{LEAST_BUDGETS} budgets are needed"
        ).write(path)
        return
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "plm_scaling.forecasts.make", str(path)],
        input=task.to_json(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    said = done.stderr.strip() or f"it ended with {done.returncode}"
    if done.returncode:
        raise RunsError(f"{said}; after {time.monotonic() - begin:.1f} s")
    logger.info("%s (%.1f s)", said, time.monotonic() - begin)


def _has_begun(starts: Path, identity: dict[str, str]) -> bool:
    """Whether the run was started before: what is said of it now would be no forecast."""
    with suppress(FileNotFoundError):
        return bool(identity.items() <= read_json(starts)["identity"].items())
    return False


def _is_there(path: Path, identity: dict[str, str]) -> bool:
    """Whether the run has a forecast; one of another run under its name is removed."""
    if not path.exists():
        return False
    if read_forecast(path).identity == identity:
        return True
    path.unlink()
    return False


def _why(cell: Cell, alike: Mapping[str, Cell], asked: Asked) -> Why | None:
    if cell.cell in asked.extra:
        return "extra"
    largest = max((other.flops_budget for other in alike.values()), default=0.0)
    return NEW if cell.flops_budget >= largest else None
