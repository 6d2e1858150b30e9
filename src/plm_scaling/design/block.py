"""A config with its sweep designed: its text as it is, but for the budgets, the designed cells and
the name of the study.

python -m plm_scaling.design.block config.yaml config/full-designed.yaml

writes the second anew from the first with the design that it has, after other keys changed.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from plm_scaling.common.errors import ConfigError
from plm_scaling.common.files import atomic
from plm_scaling.config.sweep import Designed, Objective, Sweep

STAGES = "stages"
MADE = "# Made by `plm-scaling design"
Entries = Mapping[Objective, Sequence[Designed]]


def designed_sweep(sweep: Sweep, entries: Entries) -> dict[str, Any]:
    """The keys of `sweep` that a design sets. Of an objective without a design all stays as it was,
    of the others only the designed cells are trained."""
    budgets = {entry.flops for of_one in entries.values() for entry in of_one}
    if set(sweep.objectives) - set(entries):
        budgets |= set(sweep.budgets_flops)
    kept = [entry for entry in sweep.designed if entry.objective not in entries]
    designed = []
    for budget in sorted(budgets):
        for objective in sweep.objectives:
            own = [*entries.get(objective, ()), *(e for e in kept if e.objective == objective)]
            there = [entry for entry in own if entry.flops == budget]
            if not there and objective not in entries and budget in sweep.budgets_flops:
                continue
            none = Designed(objective=objective, flops=budget, sizes=[], seeds=sweep.seeds[:1])
            designed.append((there or [none])[0].model_dump())
    return {"budgets_flops": sorted(budgets), "designed": designed}


def sweep_text(keys: Mapping[str, Any]) -> str:
    """These keys as lines of the block `sweep`."""
    lines = [f"  budgets_flops: {flow(keys['budgets_flops'])}", "  designed:"]
    return "\n".join([*lines, *(f"    - {flow(entry)}" for entry in keys["designed"])]) + "\n"


def designed_config(text: str, keys: Mapping[str, Any], study: str, header: str = "") -> str:
    """The config `text` with these keys of the sweep and this name of the study."""
    lines = text.splitlines()
    document = yaml.compose("\n".join(lines) + "\n")
    assert isinstance(document, yaml.MappingNode)
    blocks = {key.value: (key, value) for key, value in document.value}
    lines[blocks["study"][0].start_mark.line] = f"study: {flow(study)}"
    _, sweep = blocks.get("sweep", (None, None))
    if isinstance(sweep, yaml.MappingNode) and not sweep.flow_style:
        _replace(lines, sweep, keys)
    else:  # without the block, or with one in braces
        others: dict[str, Any] = {}
        if sweep is not None:
            others = yaml.safe_load(text)["sweep"] or {}
            _cut(lines, *blocks["sweep"])
        left = [f"  {name}: {flow(others[name])}" for name in others if name not in (*keys, STAGES)]
        lines += ["sweep:", *left, *sweep_text(keys).splitlines()]
    return "\n".join([*(f"# {line}" for line in header.splitlines()), *lines]) + "\n"


def _replace(lines: list[str], sweep: yaml.MappingNode, keys: Mapping[str, Any]) -> None:
    """Put these keys in place of those that the block has, or before its first."""
    there = {key.value: (key, value) for key, value in sweep.value}
    first = sweep.value[0][0].start_mark
    budgets, *designed = sweep_text(keys).splitlines()
    new = {"budgets_flops": [budgets], "designed": designed}
    if STAGES in there:
        new[STAGES] = [f"  {STAGES}: []"]  # which place cells themselves
    shift = " " * first.column
    changed = {name: [shift + line[2:] for line in own] for name, own in new.items()}
    for name in sorted(there.keys() & changed, key=lambda name: -there[name][0].start_mark.line):
        line = there[name][0].start_mark.line
        _cut(lines, *there[name])
        lines[line:line] = changed[name]
    missing = [line for name, own in changed.items() if name not in there for line in own]
    lines[first.line : first.line] = missing


def _cut(lines: list[str], key: yaml.Node, value: yaml.Node) -> None:
    """Take a key and its value out, but for blank lines and comments before the next one."""
    last = value.end_mark.line
    in_lines = isinstance(value, yaml.CollectionNode) and not value.flow_style
    if in_lines or value.end_mark.column == 0:  # which end where the next key begins
        last -= 1
    first = key.start_mark.line
    last = max(first, last)  # of an alias, the value stands elsewhere
    while last > first and lines[last].lstrip()[:1] in ("", "#"):
        last -= 1
    del lines[first : last + 1]


def write_designed(source: Path, out: Path, keys: Mapping[str, Any], header: str) -> None:
    """Write the config of `source` with a designed sweep to `out`, a study of the file's name.
    Raises `ConfigError` where that would change another key."""
    before = source.read_text()
    text = designed_config(before, keys, out.stem, header)
    if _others(text, keys) != _others(before, keys):
        raise ConfigError(
            f"{source}: {', '.join(keys)} of sweep cannot be replaced without a change of other "
            "keys; write each in lines of its own, without anchors (&) that others use"
        )
    with atomic(out) as part:
        part.write_text(text)


def _others(text: str, keys: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a design leaves as it is; None of a text that cannot be read."""
    try:
        values: dict[str, Any] = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    sweep = values.get("sweep") or {}
    left = {name: value for name, value in sweep.items() if name not in (*keys, STAGES)}
    return values | {"study": "", "sweep": left}


def flow(value: Any) -> str:
    """In one line of YAML, numbers as one writes them: 0.05, 3e18."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, float) and (value == 0 or 1e-3 <= abs(value) < 1e5):
        return f"{value:.14g}"
    if isinstance(value, float):
        digits, power = f"{value:.14e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    inside = yaml.safe_dump([value], default_flow_style=True, width=sys.maxsize)  # as in a list
    return inside.strip()[1:-1]


def _again(source: Path, out: Path) -> None:
    """Write `out` anew from `source` with the sweep that it has."""
    text = out.read_text()
    sweep = yaml.safe_load(text)["sweep"]
    for entry in sweep["designed"]:
        entry["flops"] = float(entry["flops"])
    budgets = [float(flops) for flops in sweep["budgets_flops"]]
    keys = {"budgets_flops": budgets, "designed": sweep["designed"]}
    made = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(MADE)]
    write_designed(source, out, keys, "\n".join(made))


if __name__ == "__main__":
    _again(*map(Path, sys.argv[1:]))
