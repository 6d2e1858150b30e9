"""What every program in `scripts/` shares: command line, log file, one message on failure."""

import atexit
import ctypes
import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from plm_scaling.common.errors import PlmScalingError, line_of
from plm_scaling.common.files import refuse_folder
from plm_scaling.common.progress import OneLine

logger = logging.getLogger("plm_scaling")

QUIET = "PLM_SCALING_QUIET"  # in the environment: programs show only warnings and errors
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that follows the parent's end


def _say_nothing_of_interrupts(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


# Ctrl-C reaches every running program; who pressed it needs no traceback from each. Set here and
# not in `run`, so that it holds during the seconds that the imports of a trainer take.
sys.excepthook = _say_nothing_of_interrupts


def run(function: Callable[..., Any], rank: int = 0) -> None:
    """Call `function` with the options of the command line (`read_options`), and exit.

    `--log FILE` is added to every program: the log receives everything, the terminal only
    progress (level INFO). A `PlmScalingError` ends the program with exit code 1 and its message;
    so does any other exception, with the traceback in the log (on the terminal without `--log`).
    Of a job of several processes, those with a `rank` above 0 log to FILE.RANK and say nothing but
    warnings and errors.
    """
    from plm_scaling.common.command_line import read_options  # not for who only logs

    spare_the_collector()
    call, asked = read_options(function, sys.argv[1:])
    log: Path | None = asked.arguments.pop("log", None)
    if rank and log is not None:
        log = log.with_name(f"{log.name}.{rank}")
    try:
        start_logging(log, logging.WARNING if rank else logging.INFO)
        logger.debug("command: %s", " ".join(sys.argv))
        call(*asked.args, **asked.kwargs)
    except PlmScalingError as error:
        logger.debug("%s", traceback.format_exc())
        logger.error("error: %s", error)
        sys.exit(1)
    except Exception as error:
        if log is None:
            raise
        logger.debug("%s", traceback.format_exc())
        what = f"{type(error).__name__}: {error}"
        what = line_of(error) if isinstance(error, OSError) else what
        logger.error("error: %s (traceback in %s)", what, log)
        sys.exit(1)


@cache
def spare_the_collector() -> None:
    """Keep Python's collector of garbage from what the imports made, and in the end from all:
    it finds nothing, and looks for a second through PyTorch's alone. Once a process."""
    gc.freeze()
    atexit.register(gc.freeze)


def start_logging(log: Path | None, terminal_level: int = logging.INFO) -> None:
    """Send `terminal_level` and above to stderr and everything to `log`.

    Without a log the program is a person's, and on a terminal progress is one line; with one it is
    a job among others, whose lines would overwrite each other.
    """
    logging.raiseExceptions = False  # a full disk loses lines of the log and says so elsewhere
    logger.setLevel(logging.DEBUG)
    logger.handlers.clear()
    alone = log is None and sys.stderr.isatty()
    terminal = OneLine() if alone else logging.StreamHandler(sys.stderr)
    terminal.setLevel(
        max(terminal_level, logging.WARNING) if QUIET in os.environ else terminal_level
    )
    terminal.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(terminal)
    if log is not None:
        refuse_folder(log)
        log.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log, mode="w")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(file)


def end_with_parent(number: int) -> None:
    """Get the signal `number` when the parent ends; 0 for none."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if number and os.getppid() != parent:
        os.kill(os.getpid(), number)
