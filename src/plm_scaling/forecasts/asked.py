"""results/{study}/forecasts.json: what training must know of its study to forecast its cells.

Each start of Snakemake writes it, before any job: a cell that trains knows only itself.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import read_json, write_json


@dataclass(frozen=True)
class Asked:
    """Of the config."""

    cells: list[str]
    """Ids of the sweep's cells: folders of other ids are of an earlier config."""
    extra: list[str]
    """Those of sweep.extra, which are forecast whatever has finished."""
    final_evaluations: int
    """How many of the last validation losses are averaged for a run's loss."""
    huber_delta: float
    """Of the parametric law."""

    def write(self, out: Path) -> None:
        """Write the file."""
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, asdict(self))


def read_asked(path: Path) -> Asked:
    """Inverse of `Asked.write`. Raises `RunsError`, but FileNotFoundError without a file."""
    try:
        return Asked(**read_json(path))
    except (ValueError, TypeError) as error:
        raise RunsError(
            f"{path}: not what Snakemake wrote ({error}); its next start writes it again"
        ) from error
