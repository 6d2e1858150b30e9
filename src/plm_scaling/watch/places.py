"""Which folders and studies a user means."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plm_scaling.common.errors import RunsError

NO_SWEEP = "no cells planned there yet; `plm-scaling run` (or `snakemake plan`) plans them"
NO_FOLDER = "no such folder; give that of a study, or results/STUDY in it"


@dataclass
class Place:
    """A folder in which Snakemake runs, and the results folders that are meant; all if none."""

    folder: Path
    results: list[Path] = field(default_factory=list)

    def sweeps(self) -> list[Path]:
        """The sweep.tsv of the studies, whether they are there or not; of all, those that are."""
        if self.results:
            return [results / "sweep.tsv" for results in self.results]
        return sorted(self.folder.glob("results/*/sweep.tsv"))


def find_places(given: Sequence[Path]) -> list[Place]:
    """By what is given: folders of studies, or their results folders; without any, this folder.

    Raises `RunsError` for what is neither there nor below a folder of results.
    """
    places: dict[Path, Place] = {}
    for path in given or [Path()]:
        if not path.is_dir() and path.absolute().parent.name != "results":
            raise RunsError(f"{path}: {NO_FOLDER}")
        if _is_results(path):
            folder = Path(os.path.normpath(path / "../.."))
            places.setdefault(folder, Place(folder)).results.append(path)
        else:
            places[path] = Place(path)
    return [*places.values()]


def _is_results(path: Path) -> bool:
    """Whether it is, or is to become, results/{study}."""
    if (path / "sweep.tsv").exists() or not path.is_dir():
        return True
    return path.absolute().parent.name == "results" and not (path / "results").is_dir()
