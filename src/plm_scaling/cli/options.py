"""Options that several commands share, and how their answer is printed."""

import os
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from plm_scaling.common.command_line import READS, WRITES
from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import why_no_folder, why_no_new_folder, why_unwritable
from plm_scaling.common.tables import FORMATS, STDOUT, wrong_ending


def ends_in(*endings: str) -> Callable[[object, Path | None], None]:
    """A validator: a name of another ending, and a place where no file can be made, is refused
    before anything is loaded or computed."""

    def check(kind: object, path: Path | None) -> None:
        if path is not None and (fault := wrong_ending(path, endings)):
            raise ValueError(fault)
        _writable(kind, path)

    return check


def _refused(why: Callable[[Path], str | None]) -> Callable[[object, Path | None], None]:
    """A validator: a path for which `why` gives a reason is refused."""

    def check(kind: object, path: Path | None) -> None:
        if path is not None and (fault := why(path)):
            raise ValueError(f"it {fault}")

    return check


_writable = _refused(why_unwritable)


def _table_or_stdout(kind: object, path: Path) -> None:
    if path != STDOUT:
        ends_in(*FORMATS)(kind, path)


Table = Annotated[
    Path, Parameter(help=f"table to write: {', '.join(FORMATS)}", validator=ends_in(*FORMATS))
]
TableOrStdout = Annotated[
    Path,
    Parameter(
        help=f"table to write: {', '.join(FORMATS)}; - for TSV on stdout",
        validator=_table_or_stdout,
    ),
    WRITES,
]


NewFile = Annotated[Path, Parameter(validator=_writable)]
NewFolder = Annotated[Path, Parameter(validator=_refused(why_no_new_folder))]
Folder = Annotated[Path, Parameter(validator=_refused(why_no_folder))]
Json = Annotated[bool, Parameter(help="print the answer as JSON")]
Fasta = Annotated[
    list[Path],
    Parameter(help="files, plain or compressed (gzip, zstd, xz), folders of them, - for stdin"),
    READS,
]
Cell = Annotated[
    str,
    Parameter(help="a run folder (results/…/runs/CELL), or the cell's id below results/*/runs"),
]
Model = Annotated[
    str,
    Parameter(
        help="a run folder or a cell's id, as for export, or the folder of an ESM-2 or ProGen2"
    ),
]
SkipBad = Annotated[bool, Parameter(help="go on without records that cannot be used")]
Threads = Annotated[
    int,
    Parameter(
        help="CPU threads (default: the cores here)",
        show_default=False,
        validator=validators.Number(gte=1),
    ),
]
Seed = Annotated[int, Parameter(validator=validators.Number(gte=0, lt=1 << 64))]


def results_of(folder: Path) -> Path:
    """The results folder that is meant: of a study's folder the one in it.

    Raises `RunsError` where there are several.
    """
    found = sorted(path.parent for path in folder.glob("results/*/sweep.tsv"))
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise RunsError(f"{folder} has results of {len(found)} studies; give one of {names}")
    return found[0] if found else folder


CORES = len(os.sched_getaffinity(0))


def print_json(facts: Any) -> None:
    """`facts` as JSON on standard output; paths and other objects as their text."""
    print(dumps(facts, indent=2, default=str, ensure_ascii=False))
