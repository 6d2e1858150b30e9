"""Where the weights of a finished run are; it imports no PyTorch."""

from pathlib import Path

from plm_scaling.common.errors import TrainError
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord, read_finished


def step_name(step: int) -> str:
    """The folder of a checkpoint among those of its cell."""
    return f"step-{step:09d}"


def final_checkpoint(run: Path) -> tuple[Path, RunRecord, Cell]:
    """The last checkpoint of the finished run in a folder, with its record and its cell. Raises
    `RunsError` if the run did not finish, `TrainError` if the checkpoint is not there."""
    record, cell = read_finished(run / "result.json")
    path = run / "checkpoints" / step_name(record.steps)
    if not path.is_dir():
        raise TrainError(f"{path} is missing; train the cell again")
    return path, record, cell
