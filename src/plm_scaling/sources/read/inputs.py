"""The sequence files that a command is given: files, folders of them, standard input."""

import csv
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plm_scaling.common.errors import PlmScalingError, SourceError
from plm_scaling.common.files import atomic, remove
from plm_scaling.common.tables import STDOUT
from plm_scaling.sources.addresses import SUFFIXES, files_in
from plm_scaling.sources.read.records import Records, Rejected
from plm_scaling.sources.read.streams import AGAIN, STDIN

COPY = "standard-input"
NAME = "standard input"


@contextmanager
def readable(paths: Sequence[Path], *formats: str) -> Iterator[list[Path]]:
    """The files meant by `paths`, which can be read more than once.

    A folder stands for the files of `formats` in it; standard input is kept in a temporary file,
    whose name is `COPY` and in no message. Raises `SourceError` for a folder without any.
    """
    with ExitStack() as stack:
        files: list[Path] = []
        for path in paths:
            is_folder = path.is_dir() and path != STDIN
            found = files_in(path, *formats) if is_folder else [path]
            if not found:
                endings = ", ".join(end for one in formats for end in SUFFIXES[one])
                raise SourceError(
                    f"{path} holds no file whose name ends in {endings}, alone or with the suffix "
                    "of a compression; give another folder, or the files"
                )
            files += found
        if STDIN in files:
            folder = stack.enter_context(TemporaryDirectory(prefix="plm-scaling-"))
            copy = Path(folder) / COPY
            with copy.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            files = [copy if path == STDIN else path for path in files]
            stack.enter_context(_named(copy))
        yield files


@contextmanager
def _named(copy: Path) -> Iterator[None]:
    """Errors name standard input, of which nobody knows the copy."""
    try:
        yield
    except PlmScalingError as error:
        said = str(error).replace(str(copy), NAME).replace(AGAIN, "correct what is piped into it")
        raise type(error)(said) from error


def shown(path: str) -> str:
    """A path as the user knows it."""
    return NAME if path == str(STDIN) or Path(path).name == COPY else path


class Survey:
    """Counts the records that a command reads, and lists in `OUT.rejected.tsv` what it cannot use.

    `skip_bad`: go on without those.
    """

    def __init__(self, out: Path, skip_bad: bool) -> None:
        name = "standard-output" if out == STDOUT else out.name
        self.list = out.with_name(f"{name}.rejected.tsv")
        self.skip_bad = skip_bad
        self.records = self.rejected = 0

    def of(self, batches: Iterable[Records]) -> Iterator[Records]:
        """The same batches; after the last one `SourceError` is raised if there is something to
        list, unless it is to be skipped, and if nothing else was left."""
        first: Rejected | None = None
        with ExitStack() as stack:
            for records in batches:
                self.records += records.count
                self.rejected += len(records.rejected)
                rejected = [one._replace(file=shown(one.file)) for one in records.rejected]
                if rejected and first is None:
                    first = rejected[0]
                    temporary = stack.enter_context(atomic(self.list))
                    file = stack.enter_context(temporary.open("w", newline="", errors="replace"))
                    lines = csv.writer(file, delimiter="\t", lineterminator="\n")
                    lines.writerow(Rejected._fields)
                for one in rejected:
                    lines.writerow(one.row.values())
                yield records
        if first is None:
            remove(self.list)
        elif not self.skip_bad or self.rejected == self.records:
            raise SourceError(
                f"{self.rejected} of {self.records} records cannot be used, listed in {self.list}; "
                f"the first is {first}. Correct them"
                + ("" if self.rejected == self.records else ", or go on without (--skip-bad)")
            )

    def to_json(self) -> dict[str, Any]:
        """Counts of records, and where those that were skipped are listed (null: none were)."""
        listed = str(self.list) if self.rejected else None
        return {"records": self.records, "skipped": self.rejected, "list": listed}

    @property
    def skipped(self) -> str:
        """For the last line of a command."""
        if not self.rejected:
            return ""
        return f" ({self.rejected} of {self.records} records skipped, listed in {self.list})"
