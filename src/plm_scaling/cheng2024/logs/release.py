"""The files of the release: the list that we keep, their verification and their download."""

import csv
import hashlib
import logging
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import atomic
from plm_scaling.sources.fetch.source import fetch_source
from plm_scaling.sources.fetch.verified import record_of

logger = logging.getLogger("plm_scaling")

LOGS = "data/training_logs"  # where the release keeps its logs
NO_LOGS = (".DS_Store", ".py")  # what else lies there: a Mac's folder notes and one program
NAMED_PROBLEMS = 3


@dataclass(frozen=True)
class Listed:
    """A file in the list of the release; `path` is relative to the repository."""

    path: str
    bytes: int
    sha256: str


def read_list(table: Path) -> dict[str, Listed]:
    """Read `resources/published/files.tsv` (path, bytes, sha256), by path."""
    with table.open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["path"]: Listed(row["path"], int(row["bytes"]), row["sha256"]) for row in rows}


def read_release(folder: Path, listed: Mapping[str, Listed]) -> dict[str, bytes]:
    """The content of every listed file in `folder`, verified, by path.

    Raises RunsError naming the first files that are missing, changed, or not in the list.
    """
    if not (folder / LOGS).is_dir():
        raise RunsError(
            f"{folder}: has no {LOGS}; published.logs must be the folder of the study's released "
            "repository (or `download`, or null for the tables that ship)"
        )
    contents, problems = {}, []
    for path, entry in listed.items():
        file = folder / path
        if not file.is_file():
            problems.append(f"{path} is missing")
            continue
        contents[path] = file.read_bytes()
        if not _is(contents[path], entry):
            problems.append(
                f"{path} is changed ({len(contents[path])} bytes; released were {entry.bytes}, "
                f"sha256 {entry.sha256[:12]}…)"
            )
    found = (file.relative_to(folder) for file in (folder / LOGS).rglob("*") if file.is_file())
    extra = sorted(path.as_posix() for path in found if not path.name.endswith(NO_LOGS))
    problems += [f"{path} is not a file of the release" for path in extra if path not in listed]
    if problems:
        more = len(problems) - NAMED_PROBLEMS
        raise RunsError(
            f"{folder}: {'; '.join(problems[:NAMED_PROBLEMS])}"
            + (f"; and {more} more" if more > 0 else "")
            + f". The logs must be the {len(listed)} files of resources/published/files.tsv as "
            "released; fetch them again (published.logs: null does)"
        )
    return contents


def _is(content: bytes, entry: Listed) -> bool:
    return len(content) == entry.bytes and hashlib.sha256(content).hexdigest() == entry.sha256


def fetch_release(archives: Path, files: Path, out: Path) -> None:
    """Download the release's archive and unpack the listed files, each verified, into `out`.

    Nothing but the listed files is written, so no name in the archive can lead outside `out`.
    Raises SourceError if no address answers, RunsError naming the first missing or changed files.

    Args:
        archives: source table with the file published_logs.tar.gz
        files: path, bytes, sha256 of its logs
        out: the folder that is made
    """
    listed = read_list(files)
    archive = out.with_name(out.name + ".tar.gz")
    fetch_source(archives, "published_logs.tar.gz", archive)
    with atomic(out) as temporary:
        temporary.mkdir()
        try:
            _unpack(archive, listed, temporary)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise RunsError(f"{archive}: cannot be unpacked ({error}); fetch it again") from error
        read_release(temporary, listed)
    archive.unlink()
    record_of(archive).unlink(missing_ok=True)
    logger.info("[published] %d files unpacked to %s and verified", len(listed), out)


def _unpack(archive: Path, listed: Mapping[str, Listed], out: Path) -> None:
    """Write the listed regular files of the archive, whose first folder is the repository's."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            path = "/".join(PurePosixPath(member.name).parts[1:])
            if not member.isfile() or path not in listed or member.size != listed[path].bytes:
                continue
            stream = tar.extractfile(member)
            if stream is not None:
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (out / path).write_bytes(stream.read())
