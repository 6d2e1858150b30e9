"""Mutants as assays write them: `A24C` (from, position from 1, to), several joined by `:`."""

import re
from collections.abc import Iterable

from plm_scaling.common.errors import DownstreamError

_CHANGE = re.compile(r"([A-Z])(\d+)([A-Z*])")

Change = tuple[str, int, str]


def changes(mutant: str) -> list[Change]:
    """The changes of a mutant: residue of the wild type, position from 1, residue of the mutant.

    Raises `DownstreamError` for what is written otherwise.
    """
    found = [_CHANGE.fullmatch(one) for one in mutant.split(":")]
    if any(one is None for one in found):
        raise DownstreamError(f"mutant {mutant!r} is not written as A24C or A24C:D30E")
    return [(one[1], int(one[2]), one[3]) for one in found if one is not None]


def mutated(wild_type: str, own: Iterable[Change]) -> str:
    """The wild type with the changes. Raises `DownstreamError` where it has another residue."""
    letters = list(wild_type)
    for wild, position, mutant in own:
        if not 1 <= position <= len(letters):
            raise DownstreamError(
                f"{wild}{position}{mutant}: the wild type has {len(letters)} residues"
            )
        if wild_type[position - 1] != wild:
            raise DownstreamError(
                f"{wild}{position}{mutant}: the wild type has {wild_type[position - 1]} there"
            )
        letters[position - 1] = mutant
    return "".join(letters)


def fitting_offset(wild_type: str, own: Iterable[Change]) -> int | None:
    """What to add to all positions so that the wild type has the residues that the changes begin
    with; None where nothing fits, or more than one number does."""
    wild = {position: letter for letter, position, _ in own}
    first, last = min(wild), max(wild)
    fitting = [
        offset
        for offset in range(1 - first, len(wild_type) - last + 1)
        if all(wild_type[place + offset - 1] == letter for place, letter in wild.items())
    ]
    return fitting[0] if len(fitting) == 1 else None
