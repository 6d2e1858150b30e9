"""Sources that lie on this machine: which files they are, and what is noticed of a change."""

import glob
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.addresses import SUFFIXES, files_in
from plm_scaling.sources.table import BETWEEN_PATHS, Source


def files_of(row: Source) -> list[Path]:
    """The files of a `path`: the file, those of a folder that have its format, or those that a
    pattern matches, of several paths all, sorted.

    What lies in the working directory is relative to it, so that it may move. Raises `SourceError`
    if there is none, or if what the row states cannot be true of them.
    """
    paths = row.path.split(BETWEEN_PATHS)
    files = sorted({file for path in paths for file in _files_at(path, row)})
    if braces := [file for file in files if {*"{}"} & {*str(file)}]:
        raise SourceError(
            f"source {row.name}: Snakemake cannot take {braces[0]}, whose name has braces; rename "
            "it, or give a link to it"
        )
    if len(files) > 1 and row.format not in SUFFIXES:
        raise SourceError(
            f"source {row.name}: {' '.join(paths)} is {len(files)} files, but {row.format} is "
            "read from one; make each a source"
        )
    if len(files) > 1 and (row.checksum or row.bytes is not None):
        raise SourceError(
            f"source {row.name}: {' '.join(paths)} is {len(files)} files; bytes and checksum are "
            "those of one file, so leave them out"
        )
    if row.bytes is not None and row.bytes != (size := files[0].stat().st_size):
        raise SourceError(
            f"source {row.name}: {files[0]} has {size} bytes, not {row.bytes} as stated; correct "
            "the one or the other"
        )
    return files


def _files_at(path: str, row: Source) -> list[Path]:
    at = Path(path)
    problem = "does not exist"
    if at.is_dir():
        found = files_in(at, row.format)
        problem = f"holds no {row.format} file ({', '.join(SUFFIXES.get(row.format, ()))})"
    elif at.exists():
        found = [at]
    else:
        found = [*map(Path, glob.glob(path, recursive=True))]  # noqa: PTH207 also absolute
    files = [_as_seen_from_here(one) for one in found if one.is_file()]
    if not files:
        role = f" ({row.role})" if row.role else ""
        raise SourceError(f"source {row.name}{role}: {at} {problem}; correct its path")
    return files


def _as_seen_from_here(path: Path) -> Path:
    here = Path.cwd()
    whole = here / path
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def state_of(files: list[Path]) -> str:
    """Name, size and time (s) of each file; a file put in another's place has others, whichever of
    the two is newer."""
    stats = ((file.name, file.stat()) for file in files)
    return "\n".join(f"{name} {stat.st_size} {int(stat.st_mtime)}" for name, stat in stats)
