"""Steps of a long stage: each is done once, also when the stage is killed and run again.

The results of finished steps lie in a work folder beside the stage's output (`.dedup.work` beside
`dedup`) until the output is complete. They belong to a fingerprint of what the stage was asked to
do; those of another request are removed.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from plm_scaling.common import lock
from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import atomic, read_json, remove, write_json
from plm_scaling.common.progress import logger
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.tool import Mmseqs

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What MMseqs2 and its scripts say when a write fails.
_UNWRITABLE = re.compile(r"[Cc]an ?not (write|close)|No space left|quota exceeded|File too large")


class Steps:
    """The steps of one stage, which makes the folder or file `out`.

    `asked` holds everything that the result depends on, as JSON values. A context, in which one
    process at a time may work towards `out`; raises `LockError` if another one does.
    """

    def __init__(
        self, out: Path, stage: str, asked: dict[str, Any], tool: Mmseqs, resources: Resources
    ) -> None:
        self.out = out
        self.stage = stage
        self.tool = tool
        self.resources = resources
        self.folder = out.with_name(f".{out.name}.work")
        self.scratch = resources.scratch_of(out)
        self._asked = json.loads(json.dumps({**asked, "mmseqs": tool.version}))
        self._lock = -1

    def __enter__(self) -> Self:
        self._lock = lock.take(self.folder / lock.NAME)
        request = self.folder / "request.json"
        if not request.is_file() or read_json(request) != self._asked:
            for path in self.folder.iterdir():
                if path.name != lock.NAME:
                    remove(path)
            self._clear_scratch()
            write_json(request, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def run(self, name: str, make: Callable[[Path], None]) -> Path:
        """The file or folder `name` in the work folder, made by `make(path)` unless it is there;
        `path` lies beside it and is renamed when `make` returns."""
        result = self.folder / name
        if result.exists():
            logger.info("[%s] step %s was finished before and is not repeated", self.stage, name)
            return result
        logger.debug("[%s] step %s begins", self.stage, name)
        partial = self.folder / f".{name}.partial"
        remove(partial)
        with self._explained(name):
            make(partial)
            partial.replace(result)
        logger.debug("[%s] step %s is finished", self.stage, name)
        return result

    def finish(self, make: Callable[[Path], None]) -> None:
        """Make the output by `make(path)`, put it in its place and remove the work folder.

        `path` lies beside the output, so that relative links inside it hold after the renaming.
        """
        with self._explained("output"), atomic(self.out) as temporary:
            make(temporary)
        self.remove()

    def remove(self) -> None:
        self._clear_scratch()
        shutil.rmtree(self.folder)

    def _clear_scratch(self) -> None:
        if self.scratch is not None:
            remove(self.scratch)

    @contextmanager
    def temporary(self, name: str, needed_bytes: float) -> Iterator[Path]:
        """A folder for MMseqs2's temporaries, kept if the block fails, so that MMseqs2 resumes: on
        the scratch disk if that has room for `needed_bytes`, otherwise in the work folder."""
        on_scratch = self.scratch / name if self.scratch is not None else None
        beside = self.folder / f".{name}.temporary"
        folder = self.resources.place(self.stage, beside, on_scratch, needed_bytes)
        folder.mkdir(parents=True, exist_ok=True)
        # MMseqs2 writes NAME.dbtype last and takes its presence for a finished database. Killed
        # between creating and writing it, it would trip over an empty one for ever.
        for path in folder.rglob("*.dbtype"):
            if path.stat().st_size == 0:
                path.unlink()
        yield folder
        shutil.rmtree(folder)

    def mmseqs(
        self, command: str, inputs: list[Path], result: Path, *options: str | Path | int | float
    ) -> None:
        """Run an MMseqs2 command that makes the database `result`, with the stage's threads,
        unless a killed attempt finished it. What an unfinished one left is removed, since MMseqs2
        would read files of more threads than it now has."""
        if result.with_name(f"{result.name}.dbtype").exists():
            return
        for path in result.parent.glob(f"{result.name}*"):
            path.unlink()
        arguments = [*inputs, result, *options, "--threads", self.resources.threads]
        self.tool.run(command, *arguments, keep_open=(self._lock,))  # none runs unseen

    def mmseqs_table(self, result: Path) -> Path:
        """Turn a result database into a table with tabs; the first column is the entry's key."""
        table = result.with_name(f"table_of_{result.name}")
        self.mmseqs("prefixid", [result], table, "--tsv", 1)
        return table

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Say in a failure whether a disk is full and what a second run will find."""
        try:
            yield
        except (DedupError, OSError) as error:
            kept = f"What was finished is kept in {self.folder}: run again to resume from there"
            free = self.resources.free_space(self.folder)
            if isinstance(error, OSError):
                if error.errno not in _DISK_FULL:
                    raise
            elif not _UNWRITABLE.search(str(error)):
                raise DedupError(f"{error}\n{free}. {kept}") from error
            raise DedupError(
                f"no space is left for step {name} of {self.stage}: {free}. Free some. {kept}\n"
                f"{error}"
            ) from error
