"""Runs of Snakemake, each in a fork of a process that has imported it: half a dry run's time.
Its programs are forks too, if they run here.

This module imports nothing of ours, which the Snakefile takes from the repository that it lies in.
"""

import importlib
import multiprocessing
import os
import sys
from pathlib import Path

import forked_programs

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake.report.html_reporter", "pydantic.main"])


def snakemake(
    arguments: list[str], folder: Path, module: str = "snakemake.cli"
) -> tuple[int, str, str]:
    """Run the `main` of a module in `folder`; exit code, output and error output."""
    text = [folder / ".stdout.txt", folder / ".stderr.txt"]
    local = module == "snakemake.cli" and "--dry-run" not in arguments
    programs = forked_programs.folder() if local else Path(sys.executable).parent
    call = (module, arguments, folder, dict(os.environ), text, programs)
    process = FORKS.Process(target=_main, args=call)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, *(path.read_text() for path in text)


def _main(
    module: str,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    text: list[Path],
    programs: Path,
) -> None:
    for number, path in enumerate(text, 1):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["snakemake", *arguments]
    sys.executable = str(programs / "python")  # whose folder the Snakefile puts first in PATH
    importlib.import_module(module).main(arguments)
