"""What `plm-scaling init` is given, as it is said and in numbers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import ConfigError
from plm_scaling.config.numbers import NAME
from plm_scaling.config.sweep import Objective
from plm_scaling.planner.question import Amount, gpus_of, positive
from plm_scaling.planner.training import NODE
from plm_scaling.study.hardware import GPUS

CPU_GFLOPS = 1.0  # of one core for models of thousands of parameters, as in config/demo.yaml
MOST_HOURS = 24 * 36525.0


@dataclass(frozen=True)
class Devices:
    """What trains, and for how long."""

    count: int
    gpu: str | None
    """A name in the table of GPUs; None: CPU cores."""
    hours: float

    @property
    def text(self) -> str:
        """Such as '8 A100 for 14 days'."""
        named = self.gpu or ("CPU core" if self.count == 1 else "CPU cores")
        if self.hours >= 48:
            return f"{self.count} {named} for {self.hours / 24:.3g} days"
        hours = "1 hour" if self.hours == 1 else f"{self.hours:.3g} hours"
        return f"{self.count} {named} for {hours}"

    @property
    def unit(self) -> str:
        """Of the hours of all of them."""
        return f"{self.gpu}-hours" if self.gpu else "core-hours"

    @property
    def peak(self) -> float:
        """FLOP/s of one GPU."""
        return GPUS[self.gpu].peak_flops_per_second if self.gpu else 0.0

    @property
    def machine(self) -> dict[str, Any]:
        """The block `machine` of a config, as far as it follows from them."""
        if self.gpu is None:
            return {"backend": "cpu", "threads": 1, "cpu_gflops": CPU_GFLOPS}
        block = {"gpu": self.gpu, "gpus_per_node": min(self.count, NODE), "max_gpus": self.count}
        # No cell may take all the time: the last budget waits for those before it.
        return {**block, "target_hours": float(f"{min(72.0, self.hours / 4):.2g}")}


@dataclass(frozen=True)
class Request:
    """What is asked, checked."""

    folder: Path
    fasta: tuple[Path, ...]
    mix: str | None
    devices: Devices
    objectives: tuple[Objective, ...]
    command: str
    """How it was asked for, for the config's first line."""

    @property
    def study(self) -> str:
        """The name of the study is that of its folder."""
        return self.folder.resolve().name


def existing(folder: Path) -> ConfigError:
    """The refusal of a folder that is there."""
    return ConfigError(f"{folder} exists and stays as it is; give the name of a new folder")


def request_of(
    folder: Path,
    fasta: list[Path],
    gpus: str,
    days: Amount | None,
    hours: Amount | None,
    objectives: list[Objective],
    mix: str | None,
    command: str,
) -> Request:
    """Raises `ConfigError` or LawError for a folder that is there, for a name that no study can
    have, for no or two times, and for amounts and GPUs that are none."""
    if folder.exists() or folder.is_symlink():
        raise existing(folder)
    name = folder.resolve().name
    if not re.fullmatch(NAME, name) or name == "published":
        raise ConfigError(
            f"{folder}: a study has a name of letters, digits and _ . - (not 'published', which is "
            "the study's own logs); give another folder"
        )
    in_days, in_hours = positive("days", days), positive("hours", hours)
    if (in_days is None) == (in_hours is None):
        raise ConfigError(
            "how long may it train? give one of --days and --hours, such as --days 14"
        )
    train_hours = in_hours or 24 * (in_days or 0)
    if train_hours > MOST_HOURS:
        raise ConfigError(f"{train_hours:g} hours of training are more than a century; give fewer")
    cores = re.fullmatch(r"(?:([1-9]\d*)x)?cpu", gpus.strip(), re.IGNORECASE)
    if not cores and "cpu" in gpus.lower():
        raise ConfigError(f"gpus is {gpus!r}; for two cores of this machine give 2xCPU")
    count, gpu = (int(cores[1] or 1), None) if cores else gpus_of(gpus)
    devices = Devices(count, gpu, train_hours)
    return Request(folder, tuple(fasta), mix, devices, tuple(dict.fromkeys(objectives)), command)
