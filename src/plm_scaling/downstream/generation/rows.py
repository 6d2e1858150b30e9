"""The table of a judgement: a row for each measure, with each set's value and standard error."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from plm_scaling.downstream.generation.known.training import Training
from plm_scaling.downstream.generation.measures import Facts, bootstrap, measures
from plm_scaling.downstream.generation.proteins import Proteins

RESAMPLES = 200


class Row(NamedTuple):
    """A measure; None where it was not measured or is not defined, never 0. `_error` is the
    standard error over resamples of the set's proteins."""

    measure: str
    unit: str
    generated: float | None
    generated_error: float | None
    natural: float | None
    natural_error: float | None
    shuffled: float | None
    shuffled_error: float | None
    note: str


SCHEMA = pa.schema(
    [
        (name, pa.string() if name in ("measure", "unit", "note") else pa.float64())
        for name in Row._fields
    ]
)
Estimate = tuple[float | None, float | None]  # and its standard error
NONE: Estimate = (None, None)


def rows_of(
    sets: dict[str, Proteins],
    facts: dict[str, Facts],
    training: Training,
    seed: int,
    missing: Mapping[str, str],
) -> list[Row]:
    """The rows, in the order of the measures, after how many proteins there are and ended;
    `missing` says why a measure has no value."""
    numbers: dict[str, Estimate] = {
        name: (float(proteins.count()), None) for name, proteins in sets.items()
    }
    ended = {name: _ended(proteins) for name, proteins in sets.items()}
    rows = [
        _row("proteins", "", numbers, missing),
        _row("ended", "share", ended, missing),
    ]
    of_sets = {name: measures(own, training) for name, own in facts.items()}
    for measure, (unit, _) in of_sets["generated"].items():
        values: dict[str, Estimate] = {}
        for name, own in of_sets.items():
            value = own[measure].value
            count = sets[name].count()
            values[name] = NONE if value is None else bootstrap(value, count, RESAMPLES, seed)
        rows.append(_row(measure, unit, values, missing))
    return rows


def _ended(proteins: Proteins) -> Estimate:
    if proteins.ended is None:
        return NONE
    count = proteins.count()
    share = proteins.ended / count
    return share, math.sqrt(share * (1 - share) / count) if count > 1 else None


def _row(
    measure: str, unit: str, values: Mapping[str, Estimate], missing: Mapping[str, str]
) -> Row:
    numbers = {
        name + end: None if number is None or not np.isfinite(number) else number
        for name in ("generated", "natural", "shuffled")
        for end, number in zip(("", "_error"), values.get(name, NONE), strict=True)
    }
    why = missing.get(measure) if numbers["generated"] is None else None
    note = f"not measured: {why}" if why else ""
    return Row(measure=measure, unit=unit, note=note, **numbers)


def rows_text(rows: list[Row]) -> str:
    """The table for the terminal: value ± standard error."""
    lines: list[tuple[str, ...]] = [("", "generated", "natural", "shuffled", "")]
    for row in rows:
        cells = [
            _cell(*pair)
            for pair in (
                (row.generated, row.generated_error),
                (row.natural, row.natural_error),
                (row.shuffled, row.shuffled_error),
            )
        ]
        lines.append((row.measure, *cells, row.note or row.unit))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"
