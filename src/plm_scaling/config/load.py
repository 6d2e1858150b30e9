"""Validate a config and say in one message everything that is wrong with it."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from plm_scaling.common.errors import ConfigError
from plm_scaling.common.files import atomic
from plm_scaling.config.schema import Config
from plm_scaling.config.sweep import POWER_LAW, TABLE, PowerLaw

FULL_STUDY = Path(__file__).with_name("full.yaml")


def read_config(path: Path) -> Config:
    """Read and validate a config file; raises `ConfigError` naming it."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); give a config as YAML") from error
    return validate_config(values, str(path))


def validate_config(values: Any, where: str) -> Config:
    """Validate parsed values. `where` names their origin in the message of the `ConfigError`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: a config is a mapping of blocks; see docs/config.md")
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError(
            f"{where}: " + "; ".join(lines) + " (docs/config.md has every key)"
        ) from error


def record_config(config: Config, out: Path) -> None:
    """Write a config to a YAML file that `--configfile` takes.

    Args:
        config: the whole
        out: the file
    """
    values = config.model_dump()
    with atomic(out) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _explain(problem: Any) -> str:
    location = problem["loc"]
    key = ".".join(str(part) for part in location if part not in (TABLE, POWER_LAW))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _keys_at(location[:-1]), n=1, cutoff=0)
        return f"unknown key {key!r}, did you mean {near[0]!r}?" if near else f"unknown key {key!r}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict | list):
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, found {problem['input']!r}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema has at this place."""
    block: type[BaseModel] = Config
    for part in location:
        if part == POWER_LAW:
            block = PowerLaw
        if not isinstance(part, str) or part not in block.model_fields:
            continue  # an index of a list or a name in a mapping: its block was already found
        inner = block_in(block.model_fields[part].annotation)
        if inner is not None:
            block = inner
    return list(block.model_fields)


def block_in(annotation: Any) -> type[BaseModel] | None:
    """The block that a field of this type has or consists of, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := block_in(part))), None)
