"""starts.json: when, where and from which step a run was started, an entry for each time."""

import calendar
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plm_scaling.common.files import read_json, write_json
from plm_scaling.study.layout import Layout

TIME = "%Y-%m-%dT%H:%M:%SZ"


def note_start(path: Path, identity: dict[str, str], step: int, layout: Layout) -> None:
    """Add an entry; those of a run with another identity (other data, …) are dropped."""
    entry = {
        "time": time.strftime(TIME, time.gmtime()),
        "step": step,
        "host": platform.node(),
        "layout": asdict(layout),
    }
    found = read_json(path) if path.exists() else {}
    # What earlier versions noted besides, the backend, makes no other run.
    same = identity.items() <= found.get("identity", {}).items()
    before = found["starts"] if same else []
    write_json(path, {"identity": identity, "starts": [*before, entry]})


def read_starts(path: Path) -> list[dict[str, Any]]:
    """The entries, oldest first."""
    starts: list[dict[str, Any]] = read_json(path)["starts"]
    return starts


def last_start(starts: Sequence[dict[str, Any]]) -> tuple[int | None, float | None]:
    """Processes of the last entry, and when it was (seconds since the epoch); None without one."""
    if not starts:
        return None, None
    last = starts[-1]
    processes = Layout(**last["layout"]).processes
    return processes, float(calendar.timegm(time.strptime(last["time"], TIME)))
