"""Where the runs are that commands are given by name."""

from pathlib import Path

from plm_scaling.common.errors import InferenceError


def find_run(cell: str) -> Path:
    """The folder of a run, given as itself or as the cell's id below results/*/runs.

    Raises `InferenceError` if there is none, or more than one.
    """
    if Path(cell).is_dir():
        return Path(cell)
    found = sorted(Path("results").glob(f"*/runs/{cell}")) if "/" not in cell else []
    if len(found) != 1:
        raise InferenceError(
            f"{cell}: neither a folder nor the id of a cell below results/*/runs; "
            "`plm-scaling status` lists the cells"
            if not found
            else f"{cell} is in {', '.join(map(str, found))}; give one of these folders"
        )
    return found[0]
