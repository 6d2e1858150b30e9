"""Snakemake's command line for a study: Snakefile, profile, folder and config."""

import os
import shutil
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from plm_scaling.common.errors import ConfigError
from plm_scaling.workflow.given import Place, given, place_of

CLONE = Path(__file__).resolve().parents[3]
"""The repository, if the package lies in a clone of it."""
CONFIG = "config.yaml"
START = Path(__file__).with_name("start_snakemake.py")
OF_BACKEND = {"cuda": "box", "cpu": "local"}


def config_of(study: Path) -> tuple[Path | None, Path]:
    """The working directory of a study and its config: of a folder itself and the config.yaml in
    it; of a config file none, as its results go below where Snakemake is started.

    Raises `ConfigError`.
    """
    if study.is_dir():
        config = study / CONFIG
        if not config.is_file():
            raise ConfigError(
                f"{study} has no {CONFIG}; give that of a study (`plm-scaling init` makes one)"
            )
        return study, config
    if not study.is_file():
        raise ConfigError(
            f"{study} does not exist; give the folder of a study (`plm-scaling init` makes one), "
            "or a config file"
        )
    return None, study


def targets_of(words: Sequence[str]) -> list[str]:
    """The targets of a command line: its words up to the first with a hyphen."""
    return [*takewhile(lambda word: not word.startswith("-"), words)]


def configs_of(words: Sequence[str], config: Path) -> list[Path]:
    """The files that Snakemake reads: those that its options name, in place of `config`."""
    return given(words).get("configfile", [config])


def place(workflow: Path | None, profile: str, words: Sequence[str]) -> Place:
    """Where the jobs of a run go. Raises `ConfigError` where there is no such profile."""
    others = given(words).get("profile")  # in place of it
    if others:
        files = _files_of_snakemake(others)
    else:
        files = [_profile(_repository(workflow), profile) / CONFIG]
    options: dict[str, Any] = {}
    for file in files:
        options |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return place_of(words, options)


def snakemake_command(
    study: Path, words: Sequence[str], workflow: Path | None, profile: str, dry: bool
) -> list[str]:
    """The command that runs a study.

    `words` are targets and, from the first with a hyphen on, options of Snakemake's, which win over
    all others. Raises `ConfigError` where a file is missing.
    """
    folder, config = config_of(study)
    root = _repository(workflow)
    targets = targets_of(words)
    command = [_snakemake(), *targets]
    command += ["--configfile", str(config)] if configs_of(words, config) == [config] else []
    command += ["--snakefile", _short(root / "Snakefile")]
    command += ["--profile", _short(_profile(root, profile)), "--logger", "plm"]
    command += ["--directory", str(folder)] if folder else []
    command += ["--dry-run"] if dry else []
    return [*command, *words[len(targets) :]]


def process_of(command: Sequence[str]) -> list[str]:
    """The same Snakemake as a process, which expects that the signal SIGINT is blocked."""
    return [sys.executable, "-P", str(START), *command[1:]]


def _repository(workflow: Path | None) -> Path:
    root = workflow or CLONE
    if not (root / "Snakefile").is_file():
        where = f"{root} has no Snakefile" if workflow else "this installation has no Snakefile"
        raise ConfigError(f"{where}; give a clone of the repository: --workflow PATH")
    return root


def _profile(root: Path, name: str) -> Path:
    """A profile of the repository by its name, or another by its folder."""
    for folder in (root / "profiles" / name, Path(name)):
        if (folder / CONFIG).is_file():
            return folder
    known = sorted(path.parent.name for path in (root / "profiles").glob("*/config.yaml"))
    raise ConfigError(f"--profile {name}: there are {', '.join(known)}; or give a folder")


def _files_of_snakemake(profiles: Sequence[str]) -> list[Path]:
    """Those of profiles where Snakemake finds them, also by a name in the user's or the site's
    folder; of what there is not, it says so itself."""
    from snakemake.cli import get_profile_dir  # takes a second

    return [found[1] for found in map(get_profile_dir, profiles) if found]


def _snakemake() -> str:
    """Snakemake of this Python, by its name where that finds it."""
    own = Path(sys.executable).with_name("snakemake")
    found = shutil.which("snakemake")
    return "snakemake" if found and Path(found).resolve() == own.resolve() else str(own)


def _short(path: Path) -> str:
    """The path as one would write it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
