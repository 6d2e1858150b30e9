"""What Snakemake's options and a profile say of the config, and of where jobs run."""

import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# As Snakemake reads them; of the others it says itself what is wrong with them.
_OPTIONS = ArgumentParser(add_help=False, allow_abbrev=False)
_OPTIONS.add_argument("--configfile", "--configfiles", nargs="*", type=Path)
_OPTIONS.add_argument("--profile", nargs="*")
_OPTIONS.add_argument("--executor", "-e", nargs="?")
_OPTIONS.add_argument("--cores", "-c", nargs="?")
_OPTIONS.add_argument("--jobs", "-j", nargs="?")
_OPTIONS.add_argument("--resources", "--res", nargs="*")
HERE = ("local", "touch", "dryrun")  # executors


@dataclass(frozen=True)
class Place:
    """Where the jobs of a run go."""

    here: bool
    """On this machine, and not where a scheduler finds a place."""
    cores: int
    """Of this machine, that a run takes at most."""
    jobs: int | None = None
    """At a time; None: as many as there are."""
    gpus: int | None = None
    """Of this machine, at most; None: all."""


def given(words: Sequence[str]) -> dict[str, Any]:
    """What `words` give of some options of Snakemake's, by their names."""
    options, _ = _OPTIONS.parse_known_args([*words])
    return {name: value for name, value in vars(options).items() if value}


def place_of(words: Sequence[str], profile: Mapping[str, Any]) -> Place:
    """Where jobs run by the options in `words`, which win, and by those of a profile."""
    options = {**profile, **given(words)}
    own = options.get("resources") or {}
    own = [own] if isinstance(own, str) else own  # as YAML gives one that stands alone
    pairs = own.items() if isinstance(own, Mapping) else (str(one).split("=", 1) for one in own)
    resources = {name: value for name, *values in pairs for value in values}
    cores = len(os.sched_getaffinity(0))
    return Place(
        here=options.get("executor", "local") in HERE,
        cores=min(cores, _number(options.get("cores")) or cores),
        jobs=_number(options.get("jobs")),
        gpus=_number(resources.get("gpu")),
    )


def _number(value: Any) -> int | None:
    """None for words, such as `all` and `unlimited`."""
    return int(value) if str(value).isdecimal() else None
