"""The config as text: what differs from the defaults, with the reasons."""

from typing import Any

from plm_scaling.common.progress import short_number
from plm_scaling.design.block import flow
from plm_scaling.init.proteins import Proteins
from plm_scaling.init.request import Request
from plm_scaling.init.settings import RATE
from plm_scaling.init.sizing import Sizing
from plm_scaling.study.cell import MAX_EPOCHS

WIDTH = 100
INDENT = "  "
BOTH = flow(RATE)  # the two objectives have the same


def config_text(
    request: Request, proteins: Proteins, sizing: Sizing, values: dict[str, Any]
) -> str:
    """YAML of at most 30 lines, if the files do not fill many."""
    notes = _notes(proteins, sizing)
    lines = [
        f"# Made by `{request.command}`",
        "# What is not here has its default: docs/config.md, results/*/config.yaml.",
    ]
    for name, block in values.items():
        if name == "sweep":
            lines.append("sweep:")
            for key, value in block.items():
                lines += _key(key, value, notes.get(key, ""))
        else:
            lines += _in_lines(f"{name}: ", block, notes.get(name, ""))
    return "\n".join(lines) + "\n"


def _notes(proteins: Proteins, sizing: Sizing) -> dict[str, str]:
    """Why, by block or by key of the sweep."""
    where = "around the optima of the published laws" if sizing.by_law else "over all in range"
    return {
        "split": f"about {short_number(proteins.held_out)} tokens are held out",
        "budgets_flops": "FLOPs = 6 × parameters × tokens",
        "tokens_per_parameter": f"no token is seen more than about {MAX_EPOCHS:g} times",
        "designed": f"the cheaper budgets: sizes {where}",
        "stages": "the larger ones: around what the cells before them have shown",
    }


def _key(key: str, value: Any, note: str) -> list[str]:
    """A key of the sweep; entries of a list of mappings in lines of their own."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        entries = [f"{INDENT * 2}- {flow(entry)}" for entry in value]
        return [f"{INDENT}{key}: # {note}", *entries]
    return _in_lines(f"{INDENT}{key}: ", value, note)


def _in_lines(key: str, value: Any, note: str) -> list[str]:
    """A key with its value, broken between the entries of it, and the note behind it or, where
    there is no room, before."""
    parts, ends = [flow(value)], ("", "")
    if isinstance(value, dict):
        parts, ends = [f"{flow(name)}: {flow(one)}" for name, one in value.items()], ("{", "}")
    elif isinstance(value, list):
        parts, ends = [*map(flow, value)], ("[", "]")
    lines = [key + ends[0]]
    for number, part in enumerate(parts, 1):
        part = part.replace(f"clm: {BOTH}, mlm: {BOTH}", f"clm: &rate {BOTH}, mlm: *rate")
        part += ends[1] if number == len(parts) else ","
        if len(lines[-1]) + len(part) >= WIDTH and lines[-1].strip() != key.strip() + ends[0]:
            lines.append(INDENT * 2)
        lines[-1] += part if lines[-1][-1] in f" {ends[0]}" else f" {part}"
    if note and len(lines[-1]) + len(note) + 3 <= WIDTH:
        lines[-1] += f" # {note}"
    elif note:
        indent = key[: len(key) - len(key.lstrip())]
        lines.insert(0, f"{indent}# {note}")
    return lines
