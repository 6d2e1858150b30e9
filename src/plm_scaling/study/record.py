"""result.json: what one run trained, with what, and what came of it."""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import RunsError, SweepError
from plm_scaling.common.files import read_json
from plm_scaling.common.progress import many
from plm_scaling.study.cell import Cell, ImportedCell

AGAIN = "move the cell's folder aside and train it again"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that ended. What the version that wrote it did not record has the default None, and
    what is unknown of a model that was imported is None.

    Losses are in nats per token; `tokens` counts padding, `flops` is 6·N·D.
    """

    cell: str
    status: str
    """finished, diverged, or imported: trained elsewhere."""
    reason: str
    loss: float | None
    """Last validation loss of a run that finished; `loss_last` of any run."""
    loss_last: float | None
    held_out_losses: dict[str, float | None] | None = None
    """By held-out set; None where it was not finite. `held_out_tokens` are the tokens predicted."""
    held_out_tokens: dict[str, int] | None = None
    n_evals: int
    steps: int
    skipped_steps: list[dict[str, Any]] | None = None
    tokens: int
    unpadded_tokens: int | None = None
    unique_tokens: int
    flops: float
    flops_exact: float | None = None
    wall_seconds: float
    tokens_per_second: float
    unpadded_tokens_per_second: float | None = None
    flops_per_second: float | None = None
    exact_flops_per_second: float | None = None
    utilisation: float | None = None
    utilisation_segments: float | None = None
    utilisation_6nd: float | None = None
    utilisation_of: str | None = None
    layout: dict[str, Any] | None = None
    device: str | None = None
    hosts: int | None = None
    peak_memory_bytes: dict[str, int] | int | None = None
    restarts: int | None = None
    starts: list[dict[str, Any]] | None = None
    curve_sha256: str | None = None
    data_sha256: str | None = None
    config: dict[str, Any]
    """The fields of the cell, in the version that trained it."""
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a record of this version or an earlier one. Raises `RunsError`."""
        try:
            values = read_json(path)
        except FileNotFoundError:
            untrained = f"{path.parent} has no {path.name}: the cell is not trained to its end"
            raise RunsError(f"{untrained}; train it first") from None
        except ValueError as error:
            raise _unusable(path, f"not JSON: {error}") from error
        if not isinstance(values, dict):
            raise _unusable(path, "not a JSON object")
        needed = [field.name for field in fields(cls) if field.default is MISSING]
        if absent := [name for name in needed if name not in values]:
            raise _unusable(path, f"{many(len(absent), 'key')} missing: {', '.join(absent)}")
        status = values["status"]
        if status not in ("finished", "diverged", "imported"):
            raise _unusable(path, f"key status is {status!r}, not finished, diverged or imported")
        for name in ("steps",) if status == "imported" else ("steps", "tokens", "flops"):
            if not isinstance(values[name], int | float):
                raise _unusable(path, f"key {name} is {values[name]!r}, not a number")
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def read_cell(path: Path) -> tuple[RunRecord, Cell]:
    """A record and its cell. Raises `RunsError`, also if the cell is of another version."""
    record = RunRecord.read(path)
    try:
        kind = ImportedCell if record.status == "imported" else Cell
        cell = kind.from_json(json.dumps(record.config))
    except (SweepError, TypeError) as error:
        raise RunsError(
            f"{path} is no record of a cell of this version ({error}); {AGAIN}"
        ) from error
    if record.cell != cell.cell:
        raise RunsError(
            f"{path} is of cell {record.cell} but describes {cell.cell}: it was put together by "
            "hand; take the folder that training made"
        )
    return record, cell


def read_finished(path: Path) -> tuple[RunRecord, Cell]:
    """The same for a run whose weights are to be used. Raises `RunsError` if it diverged."""
    record, cell = read_cell(path)
    if record.status not in ("finished", "imported"):
        raise RunsError(
            f"{path.parent}: the run {record.status} ({record.reason}); take one that finished"
        )
    return record, cell


def _unusable(path: Path, problem: str) -> RunsError:
    return RunsError(f"{path} is no record of a cell ({problem}); {AGAIN}")
