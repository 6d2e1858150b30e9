"""Cells whose starts wait for the test, so that it does not depend on how fast a machine is."""

import textwrap
from pathlib import Path

from workflows import checkout

HELD = """
import time
from pathlib import Path
from plm_scaling.train.output.starts import read_starts
from plm_scaling.train.stop import StopRequest

run, told = Path(sys.orig_argv[sys.orig_argv.index("--out") + 1]).parent, Path({told!r})
ends = StopRequest.job_ends

def job_ends(request, *seconds):
    assert 0 < request.end - time.monotonic() < 3600, "Slurm was not asked for the time limit"
    starts = read_starts(run / "starts.json")
    saved = max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=0)
    while saved > starts[-1]["step"] and not request.signal:  # which would end a step too
        if (told / f"start {{len(starts)}}: its job ends").exists():
            request.end = time.monotonic()
            break
        if any(int(path.name) <= len(starts) for path in told.glob("[0-9]*")):
            break
        time.sleep(0.05)
    return ends(request, *seconds)

if run.name == {cell!r}:
    StopRequest.job_ends = job_ends
"""


class HeldCell:
    """In a copy of the repository, `root`, each start of this cell that has saved makes no further
    step until it is told to. `program` is what Python runs before that of any cell."""

    def __init__(self, cell: str, repository: Path, folder: Path, program: str = "") -> None:
        self.root, self.told = checkout(repository, folder), folder / "told"
        self.told.mkdir()
        condition = 'if any(word.endswith("train_cell.py") for word in sys.orig_argv):'
        body = textwrap.indent(program + HELD.format(cell=cell, told=str(self.told)), "    ")
        text = "\n".join(["import sys", condition, body])
        self.root.joinpath("src/sitecustomize.py").write_text(text)

    def go_on(self, start: int) -> None:
        """Let the `start`-th start and those after it make their steps."""
        (self.told / str(start)).touch()

    def end_job(self, start: int) -> None:
        """Let the `start`-th start come to the end of its job's time."""
        (self.told / f"start {start}: its job ends").touch()
