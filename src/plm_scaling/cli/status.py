"""`plm-scaling status`: how far the cells of a study are."""

import sys
from contextlib import suppress
from json import dumps
from pathlib import Path
from shutil import get_terminal_size
from time import sleep, time
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.common.errors import RunsError

TERMINAL_SECONDS, LOG_SECONDS = 2.0, 30.0
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
LINES_BESIDE = 12  # of the terminal, beside the cells
LONGEST_SECONDS = 86400.0


def _possible(kind: object, seconds: float | None) -> None:
    if seconds is not None and not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"give seconds above 0, and at most {LONGEST_SECONDS:.0f}")


def status(
    *studies: Path,
    json: bool = False,
    watch: bool = False,
    every: Annotated[float | None, Parameter(validator=_possible)] = None,
) -> None:
    """Of each cell: state, loss, time left, whether it is as forecast, Slurm job; when all will be
    done; why jobs failed.

    From its files, during a run or after it.

    Example: plm-scaling status my-study --watch

    Args:
        studies: folders of studies, or results folders (default: all in this folder)
        json: all that is known, with the laws so far, as JSON: a list with an entry per folder
        watch: show it again and again until the studies have ended
        every: seconds between (default: 2 on a terminal, else 30)
    """
    # Neither a Slurm that does not answer nor a sweep that is still to be planned hides the rest.
    from plm_scaling.watch.places import NO_SWEEP, find_places
    from plm_scaling.watch.queue import Lately
    from plm_scaling.watch.reader import Reader
    from plm_scaling.watch.text import states_text

    places, queue = find_places(studies), Lately()
    readers = [Reader(place.folder, place.sweeps, queue.now) for place in places]
    redraw = watch and not json and sys.stdout.isatty()
    usual = TERMINAL_SECONDS if redraw else LOG_SECONDS
    pause = usual if every is None else every
    with suppress(KeyboardInterrupt):
        while True:
            now = time()
            states = [reader.read(now, laws=json) for reader in readers]
            if json:
                text = dumps([state.to_json() for state in states], allow_nan=False) + "\n"
            else:
                rows = max(1, get_terminal_size().lines - LINES_BESIDE) if redraw else None
                text = states_text(states, now, rows)
            print(CLEAR + text if redraw else text, end="", flush=True)
            if not watch or all(state.ended for state in states):
                break
            sleep(pause)
    sweeps = [sweep for place in places for sweep in place.sweeps()]
    if missing := [sweep for sweep in sweeps if not sweep.exists()]:
        raise RunsError(f"{missing[0]}: {NO_SWEEP}")
