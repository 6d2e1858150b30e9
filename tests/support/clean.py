"""Checks that fork, in a program of their own.

A test before may have left threads of gloo behind; a fork while one of them holds a lock waits for
ever. Here one program imports what the checks need, makes no process group, and forks for each.
"""

import gc
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forks import exit_code, fork

SKIPPED = 77


Check = Callable[[Path], None]


def run_checks(program: str, folder: Path, *checks: Check) -> Path:
    """Run these functions of `program`, a test module that ends with `main`; their folder."""
    folders = [Path(__file__).parent, Path(program).parent, *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    names = [check.__name__ for check in checks]
    subprocess.run([sys.executable, program, folder, *names], check=True, env=environment)
    return folder


def report(folder: Path, check: Check) -> None:
    """Fail, or skip, as `check` did in the program."""
    output = (folder / f"{check.__name__}.txt").read_text()
    if output.startswith("skipped"):
        pytest.skip(output)
    assert output == "passed", output


def main(functions: dict[str, Any]) -> None:
    """The program: each check in a fork with a separate folder, and its outcome."""
    folder = Path(sys.argv[1])
    gc.freeze()  # what the modules have made: each fork begins with a collection of garbage
    for check in map(functions.get, sys.argv[2:]):
        own = folder / check.__name__
        own.mkdir()
        output = own.with_suffix(".txt")
        code = exit_code(fork(lambda: _run(check, own, output)))  # noqa: B023
        if code == SKIPPED:
            output.write_text("skipped: this system does not allow it")
        elif not output.exists():
            output.write_text(f"ended with {code}")


def _run(check: Check, own: Path, output: Path) -> None:
    try:
        check(own)
    except SystemExit:
        raise
    except BaseException:  # pytest's failures are no Exceptions
        output.write_text(traceback.format_exc())
    else:
        output.write_text("passed")
