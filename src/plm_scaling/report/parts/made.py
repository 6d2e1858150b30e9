"""What a page was made with: date, commit, versions, config, and the hardware of the runs."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from plm_scaling import __version__
from plm_scaling.common.commit import commit_of
from plm_scaling.common.files import read_json, sha256_of
from plm_scaling.common.progress import short_time
from plm_scaling.study.record import RunRecord

PACKAGES = ("torch", "megatron-core", "snakemake", "numpy", "scipy", "pyarrow", "matplotlib")
ROOT = Path(__file__).parents[4]


@dataclass(frozen=True)
class Made:
    """One line, rows by name, and the text of the config, if there is one."""

    line: str
    rows: dict[str, str]
    config: str = ""


@dataclass
class _Training:
    """What the runs of one kind of device took."""

    runs: int = 0
    device_seconds: float = 0.0
    most_devices: int = 0
    starts: list[str] = field(default_factory=list)
    ends: list[datetime] = field(default_factory=list)


def made_with(
    config: Path | None = None, tool: Path | None = None, records: Iterable[Path] = ()
) -> Made:
    """What this page was made with, here and now, and what the runs of `records` (result.json) were
    trained on; `tool` is a JSON file of the versions of other tools.

    What no file says (an earlier version recorded less) is left out.
    """
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    rows = {"page made (UTC)": today, "plm-scaling": __version__, "commit": commit_of(ROOT)}
    rows |= _trained(records)
    rows["Python"] = platform.python_version()
    for name in PACKAGES:
        try:
            rows[name] = version(name)
        except PackageNotFoundError:
            rows[name] = "not installed here"
    if tool is not None:
        rows |= {name: str(value) for name, value in read_json(tool).items()}
    if config is not None:
        rows[f"SHA-256 of {config}"] = sha256_of(config)
    return Made(
        line=f"{today}, plm-scaling {__version__}",
        rows={name: value for name, value in rows.items() if value},
        config=config.read_text(encoding="utf-8") if config else "",
    )


def _end(record: RunRecord, last: dict[str, Any]) -> datetime:
    """When a run ended: its last start, and of its seconds those of the steps since then."""
    since = (record.steps - last["step"]) / max(record.steps, 1)
    return datetime.fromisoformat(last["time"]) + timedelta(seconds=record.wall_seconds * since)


def _trained(records: Iterable[Path]) -> dict[str, str]:
    """When, on what, how long and with which versions."""
    devices: dict[str, _Training] = {}
    versions: dict[str, None] = {}
    for path in records:
        record = RunRecord.read(path)
        if record.device is None or record.layout is None:
            continue
        layout = record.layout
        used = layout["tensor"] * layout["pipeline"] * layout["data"]
        of = devices.setdefault(record.device, _Training())
        of.runs += 1
        of.device_seconds += used * record.wall_seconds
        of.most_devices = max(of.most_devices, used)
        of.starts += [start["time"] for start in record.starts or []]
        if record.starts:
            of.ends.append(_end(record, record.starts[-1]))
        versions[", ".join(f"{name} {value}" for name, value in record.versions.items())] = None
    rows = {}
    for name, of in sorted(devices.items()):
        unit, many = ("process", "processes") if name == "cpu" else ("GPU", "GPUs")
        rows[f"trained on {name}"] = (
            f"{of.runs} run{'' if of.runs == 1 else 's'} on at most {of.most_devices} "
            f"{unit if of.most_devices == 1 else many}: {of.device_seconds / 3600:.3g} "
            f"{unit}-hours ({short_time(of.device_seconds)})"
        )
    if starts := sorted(start for of in devices.values() for start in of.starts):
        rows["runs started (UTC)"] = f"first {starts[0]}, last {starts[-1]}"
        end = max(end for of in devices.values() for end in of.ends)
        whole = (end - datetime.fromisoformat(starts[0])).total_seconds()
        rows["first start to last end"] = f"{short_time(whole)}, with all waits between runs"
    if versions:
        rows["trained with"] = "; ".join(versions)
    return rows
