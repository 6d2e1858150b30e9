"""The state of every cell of a sweep, read from its files only, during a run or after it."""

import json
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import tail
from plm_scaling.common.lock import is_held
from plm_scaling.common.progress import short_number, short_time
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord
from plm_scaling.study.sweep_table import read_sweep
from plm_scaling.train.output.starts import last_start, read_starts

STALLED_AFTER_SECONDS = 600.0  # longer than any step, evaluation or checkpoint should take
# Without a sign for so long, a cell whose lock nobody holds does not run. (Not at once: on some
# shared file systems the locks of other nodes are not seen.)
STOPPED_AFTER_SECONDS = 60.0
TAIL_BYTES = 65536


@dataclass(frozen=True)
class CellState:
    """One cell: `state` is waiting, running, stopped, stalled, finished or diverged; by its jobs
    (`with_jobs`) also queued, starting or failed.

    A stopped one is to be resumed, a stalled one still holds its lock.

    `plan` is the sweep's; `loss` is the last validation loss (nats/token),
    before the first evaluation the training loss; None where nothing is known.
    """

    cell: str
    plan: Cell
    state: str
    loss: float | None
    tokens: int
    tokens_per_second: float | None
    eta_seconds: float | None
    processes: int | None = None
    """Of the last start; None before one."""
    started: float | None = None
    """When that was; `ended`: when the record was written. Seconds since the epoch."""
    ended: float | None = None
    written: float | None = None
    """When it last wrote, before its record; None if it did not."""
    utilisation: float | None = None
    """Of the peak FLOPs of its GPUs (MFU); None where the peak is not known."""
    reason: str = ""
    """Why it diverged, or why its job failed."""

    @property
    def flops_left(self) -> float:
        """FLOPs still to train; none once the cell has a result."""
        if self.state in ("finished", "diverged"):
            return 0.0
        return self.plan.flops * max(0.0, 1 - self.tokens / self.plan.tokens)


def cell_states(sweep: Path, runs_dir: Path, now: float | None = None) -> list[CellState]:
    """The state of every cell of `sweep`, in its order, from the files in `runs_dir`/{cell}/.

    `now` (seconds since the epoch, default the clock) decides which running cells have stalled.
    """
    now = time.time() if now is None else now
    return [cell_state(cell, runs_dir / name, now) for name, cell in read_sweep(sweep).items()]


def with_jobs(
    states: Iterable[CellState],
    queued: Collection[str],
    started: Collection[str],
    failed: Mapping[str, str],
    asked: float,
) -> list[CellState]:
    """The states with what is known of jobs: of the ids whose job waits in a scheduler's queue, or
    runs, as it said when it was `asked` (seconds since the epoch), and of those whose last job
    failed, with the reason."""

    def known(state: CellState) -> CellState:
        if state.state not in ("waiting", "stopped", "running"):
            return state
        # One that wrote before was queued again since; one that wrote later has started since.
        if state.cell in queued and (state.written or 0.0) <= asked:
            return replace(state, state="queued", eta_seconds=None)
        if state.state == "running":
            return state
        if state.cell in started:
            return replace(state, state="starting")
        if state.cell in failed:
            return replace(state, state="failed", reason=failed[state.cell])
        return state

    return [*map(known, states)]


def cell_state(cell: Cell, folder: Path, now: float) -> CellState:
    """The state at `now` of the cell that trains in `folder`."""
    record = _record(folder / "result.json")
    if record is None:
        return _unfinished(cell, folder, now)
    processes, started = last_start(record.starts or [])
    return CellState(
        cell=folder.name,
        plan=cell,
        state=record.status,
        loss=None if record.status == "diverged" else _positive(record.loss),
        tokens=record.tokens,
        tokens_per_second=_positive(record.tokens_per_second),
        eta_seconds=None,
        processes=processes,
        started=started,
        ended=(folder / "result.json").stat().st_mtime,
        utilisation=_positive(record.utilisation),
        reason=record.reason,
    )


def _unfinished(cell: Cell, folder: Path, now: float) -> CellState:
    progress = _progress(folder / "progress.json")
    lines = _last_lines(folder / "curve.csv")
    rate = _last(row.get("tokens_per_second") for row in lines)
    loss = _last(row.get("loss") for row in lines if row.get("split") == "valid")
    reached = (lines[-1].get("tokens") if lines else None, progress.get("tokens"))
    tokens = max(_positive(value) or 0.0 for value in reached)
    state, eta, starts, written = "waiting", None, [], None
    if (folder / "curve.csv").exists() or progress:  # the header is written before the first row
        rate = _positive(progress.get("tokens_per_second")) or rate
        loss = loss or _positive(progress.get("loss"))
        starts = _starts(folder / "starts.json")
        written = _last_sign(folder, progress)
        state = _running_or_not(folder / "lock", now - written)
        if rate and state == "running":
            eta = max(0.0, cell.tokens - tokens) / rate
    processes, started = last_start(starts)
    return CellState(
        cell=folder.name,
        plan=cell,
        state=state,
        loss=loss,
        tokens=int(tokens),
        tokens_per_second=rate,
        eta_seconds=eta,
        processes=processes,
        started=started,
        written=written,
        utilisation=_last(row.get("utilisation") for row in lines),
    )


def last_validation(folder: Path) -> tuple[int, float] | None:
    """Tokens and loss (nats/token) of a cell's newest evaluation; None before the first."""
    rows = [row for row in _last_lines(folder / "curve.csv") if row.get("split") == "valid"]
    tokens, loss = (
        (_positive(rows[-1].get(name)) for name in ("tokens", "loss")) if rows else (0, 0)
    )
    return (int(tokens), loss) if tokens and loss else None


def _running_or_not(lock: Path, silent_seconds: float) -> str:
    if silent_seconds > STOPPED_AFTER_SECONDS and not is_held(lock):
        return "stopped"
    return "stalled" if silent_seconds > STALLED_AFTER_SECONDS else "running"


def _last_lines(path: Path) -> list[dict[str, str]]:
    """The last whole rows of a curve, at most TAIL_BYTES of them, without reading the rest."""
    if not path.is_file():
        return []
    with path.open(errors="replace") as file:
        header = file.readline().strip().split(",")
    text = tail(path, TAIL_BYTES)
    rows = [row.split(",") for row in text[: text.rfind("\n") + 1].splitlines()]
    rows = rows[1:]  # the first is the header, or cut
    return [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]


def _last(values: Iterable[str | None]) -> float | None:
    """The last usable one of some numbers."""
    return next((v for value in reversed([*values]) if (v := _positive(value))), None)


def _positive(value: Any) -> float | None:
    """A positive finite number, or None where a value is missing or broken."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _record(path: Path) -> RunRecord | None:
    """The record; None without a usable one, of which `snakemake laws` reports."""
    try:
        return RunRecord.read(path)
    except RunsError:
        return None


def _progress(path: Path) -> dict[str, Any]:
    """The progress file of a cell that trains; nothing if it is missing or damaged."""
    try:
        progress = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return progress if isinstance(progress, dict) else {}


def _starts(path: Path) -> list[dict[str, Any]]:
    """The starts of a cell that trains; none if the file is missing or damaged."""
    try:
        return read_starts(path)
    except (OSError, ValueError, LookupError):
        return []


def _last_sign(folder: Path, progress: dict[str, Any]) -> float:
    """When the cell last wrote anything, in seconds since the epoch."""
    files = (folder / "curve.csv", folder / "progress.json")
    times = [file.stat().st_mtime for file in files if file.exists()]
    return max([*times, _positive(progress.get("updated")) or 0.0])


def status_table(
    states: Sequence[CellState],
    queue: Mapping[str, str] | None = None,
    forecasts: Mapping[str, str] | None = None,
    shown: Sequence[CellState] | None = None,
) -> str:
    """A fixed-width table of the cells, or of those `shown`, with a line of totals of all.

    `queue` has the state of cells' jobs in the scheduler, `forecasts` how they do against what was
    forecast, by cell, for further columns.
    """
    header = ("cell", "objective", "size", "FLOPs", "state", "loss", "tokens", "tokens/s", "ETA")
    shown = states if shown is None else shown
    rows = [header, *(_row(state) for state in shown)]
    for name, said in (("forecast", forecasts), ("Slurm", queue)):
        if said:
            column = [name, *(said.get(state.cell, "") for state in shown)]
            rows = [(*row, text) for row, text in zip(rows, column, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, 1, 2, 4, 9, 10}
    lines = [
        "  ".join(
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", totals(states)])


def _row(state: CellState) -> tuple[str, ...]:
    plan, planned = state.plan, short_number(state.plan.tokens)
    share = f"{100 * state.tokens / plan.tokens:3.0f} %"
    return (
        *(state.cell, plan.objective, plan.size, f"{plan.flops:.2e}", state.state),
        "–" if state.loss is None else f"{state.loss:.4f}",
        f"{short_number(state.tokens)}/{planned} {share}" if state.tokens else f"{planned} {share}",
        "–" if state.tokens_per_second is None else short_number(state.tokens_per_second),
        "–" if state.eta_seconds is None else short_time(state.eta_seconds),
    )


def totals(states: Sequence[CellState]) -> str:
    """One line: how many cells are in which state, and how much of the compute is done."""
    names = (
        *("finished", "running", "starting", "queued", "stopped", "stalled", "failed"),
        *("waiting", "diverged"),
    )
    count = {name: sum(state.state == name for state in states) for name in names}
    total, left = sum(s.plan.flops for s in states), sum(s.flops_left for s in states)
    parts = [f"{count['finished']} of {len(states)} cells finished"]
    parts += [f"{count[name]} {name}" for name in names[1:] if count[name]]
    parts.append(f"{100 * (1 - left / total):.0f} % of {total:.2e} FLOPs done")
    return " · ".join(parts)
