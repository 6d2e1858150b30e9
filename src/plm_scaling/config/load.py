"""Validate a config and say in one message everything that is wrong with it."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from plm_scaling.common.errors import ConfigError
from plm_scaling.common.files import atomic
from plm_scaling.config.schema import Config
from plm_scaling.config.training import POWER_LAW, TABLE, PowerLaw

FULL_STUDY = Path(__file__).with_name("full.yaml")


WHOLE = ("corpora", "sweep")  # a file replaces these: parts of two are neither's


def read_config(path: Path) -> Config:
    """Read and validate a config file; raises `ConfigError` naming it."""
    return validate_config(_values(path), str(path))


def read_study(
    files: Sequence[Path], changes: Mapping[str, Any], full: Path = FULL_STUDY
) -> tuple[Config, str]:
    """The config of a run, and a line on what it was made of, empty if `full` has it all.

    Args:
        files: in order, as given with --configfile. A key of a later one replaces that of an
            earlier one; of `corpora` and `sweep` the whole. They change the file `full` unless one
            of them says `study`: that is a study of its own.
        changes: single keys, as given with --config
        full: the study that is run if no file is given

    Raises `ConfigError` naming file and key.
    """
    given = [(_shown(path), _values(path)) for path in files]
    if not any("study" in values for _, values in given):
        given.insert(0, (_shown(full), _values(full)))
    values: dict[str, Any] = {}
    said = []
    for name, beside in given:
        replaced = [block for block in WHOLE if block in beside and block in values]
        if replaced:
            those = "is that" if len(replaced) == 1 else "are those"
            said.append(f"{' and '.join(replaced)} {those} of {name} alone")
        values = _merged({key: values[key] for key in values if key not in replaced}, beside)
    where = " ".join(name for name, _ in given)
    values = _merged(values, changes)
    config = validate_config(values, where)
    if defaults := count_left_out(values, Config):
        said.append(
            f"{defaults} keys have their defaults, and results/{config.study}/config.yaml shows all"
        )
    return config, f"config {where}: {'; '.join(said)}" if said else ""


def count_left_out(values: Mapping[str, Any], block: type[BaseModel]) -> int:
    """Keys of a block and of its blocks that are not in `values`."""
    number = 0
    for name, field in block.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            number += count_left_out(values.get(name) or {}, kind)
        elif name not in values:
            number += 1
    return number


def _values(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read ({why}); give a config as YAML") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: a config is a mapping of blocks; see docs/config.md")
    return {name: block for name, block in values.items() if block is not None}  # all comments


def _shown(path: Path) -> str:
    """The path as one would write it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes, key by key, also inside blocks."""
    merged = {**values}
    for key, new in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            merged[key] = _merged(old, new)
        else:
            merged[key] = new
    return merged


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
