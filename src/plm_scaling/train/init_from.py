"""The run that a transferred cell starts from."""

from pathlib import Path

from plm_scaling.common.errors import TrainError
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import read_cell

SAME = (
    *("recipe", "layers", "hidden", "ffn", "heads", "context_length"),
    *("mup_base_width", "mup_base_channels"),
)


def check_source(cell: Cell, path: Path | None) -> None:
    """Whether the run that `path` is the record of is what `cell` starts from (None: from scratch).

    Raises `TrainError` if one of them has no source, if the run is another cell's, has not
    finished, or is not of the other objective with the same model, `RunsError` if its record is
    missing or unusable.
    """
    if cell.init_from is None and path is None:
        return
    if path is None:
        raise TrainError(
            f"cell {cell.cell} starts from cell {cell.init_from}: give its result.json with "
            "--init-from"
        )
    if cell.init_from is None:
        raise TrainError(f"cell {cell.cell} starts from scratch: leave out --init-from {path}")
    record, source = read_cell(path)
    if source.cell != cell.init_from:
        raise TrainError(
            f"{path} is of cell {source.cell}, but cell {cell.cell} starts from {cell.init_from}"
        )
    if record.status != "finished":
        raise TrainError(
            f"cell {cell.cell} cannot start from cell {source.cell}, which {record.status} "
            f"({record.reason}); lower its learning rate, or take the pair out of sweep.transfer"
        )
    if source.objective == cell.objective:
        raise TrainError(
            f"cell {cell.cell} and its source {source.cell} are both {cell.objective.upper()}: a "
            "transferred cell starts from the other objective"
        )
    different = [name for name in SAME if getattr(source, name) != getattr(cell, name)]
    if different:
        raise TrainError(
            f"cell {cell.cell} and its source {source.cell} differ in {', '.join(different)}: "
            "weights fit only the same model"
        )
