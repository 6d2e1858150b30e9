"""Each published constant, its value by the study's own procedure, and ours, with a verdict.

`resources/published/constants.tsv` holds the published values and where the law files have the
others. A verdict is three enumerated values, `Reproduced`, `Place` (or why there is none) and the
`Status` of our law; SENTENCES has a sentence for each.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.progress import many
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Place, place
from plm_scaling.laws.stats.power import along
from plm_scaling.laws.status import Status
from plm_scaling.laws.verdict import around

INPUT_COLUMNS = (
    *("name", "objective", "symbol", "published", "form", "source", "procedure", "ours", "why"),
)
COLUMNS = (
    *("name", "objective", "symbol", "form", "published", "by_their_procedure"),
    *(
        "relative_difference",
        "reproduced",
        "ours",
        "low",
        "high",
        "place",
        "our_status",
        "verdict",
        "source",
    ),
)
RANGE = re.compile(r"^([\d.]+)-([\d.]+)$")
CLOSE = 0.01  # relative
EXACT = 1e-4  # relative; closer than this counts as reproduced however many digits were printed


class Reproduced(StrEnum):
    """How near the study's own procedure comes to what it published."""

    PRINTED = "as printed"
    """To the last digit."""
    NEARLY_PRINTED = "to 1 in 10,000"
    """More digits are printed than a fit determines."""
    ROUNDED = "rounded"
    """The one digit printed is right, though more than 1 % off."""
    CLOSE = "within 1 %"
    NO = "no"


class Unplaced(StrEnum):
    """Why a published number has no place in an interval of ours (`Place`)."""

    NOT_DETERMINED = "not determined"
    NO_INTERVAL = "no interval"
    AT_BOUND = "ours at its bound"
    """Nearly all resamples end there, so the interval is one number."""
    IN_RANGE = "ours in the published range"
    OUT_OF_RANGE = "ours outside the published range"


SENTENCES: Mapping[str, str] = {
    Reproduced.PRINTED: "Reproduced to the last digit printed.",
    Reproduced.NEARLY_PRINTED: "Reproduced to 1 in 10,000 or better.",
    Reproduced.ROUNDED: "Their procedure gives {procedure:.3g}, which rounds to what is printed.",
    Reproduced.CLOSE: "Their procedure gives {procedure:.4g}{off}.",
    Reproduced.NO: "Their procedure gives {procedure:.4g}{off}: not reproduced to 1 %.",
    **dict.fromkeys(Place, "{place} our interval {low:.3g} to {high:.3g}."),
    Unplaced.NOT_DETERMINED: "The released runs do not determine it.",
    Unplaced.NO_INTERVAL: "We find {ours:.3g}, without an interval.",
    Unplaced.AT_BOUND: "Our fit ends at the bound, {ours:.3g}, so it has no interval.",
    Unplaced.IN_RANGE: "Ours, {ours:.3g}, lies inside the range.",
    Unplaced.OUT_OF_RANGE: "Ours, {ours:.3g}, lies outside the range.",
    Status.NOT_IDENTIFIED: "Our law is not identified.",
    Status.CONTRADICTED: "A check contradicts our law.",
}
WORDS: Mapping[str, str] = {
    Reproduced.PRINTED: "as printed",
    Reproduced.NEARLY_PRINTED: "as printed",
    Reproduced.ROUNDED: "rounds to it",
    Reproduced.CLOSE: "within 1 %",
    Reproduced.NO: "not reproduced",
    Place.INSIDE: "inside",
    Place.BELOW: "below ours",
    Place.ABOVE: "above ours",
    Place.LOWER_END: "at an end",
    Place.UPPER_END: "at an end",
    Unplaced.NOT_DETERMINED: "not determined",
    Unplaced.NO_INTERVAL: "no interval",
    Unplaced.AT_BOUND: "ours unbounded",
    Unplaced.IN_RANGE: "inside",
    Unplaced.OUT_OF_RANGE: "outside",
}
OUTSIDE = (Place.BELOW, Place.ABOVE, Unplaced.OUT_OF_RANGE)
WITHIN = (Place.INSIDE, Place.LOWER_END, Place.UPPER_END, Unplaced.IN_RANGE)
NEAR = {Reproduced.NEARLY_PRINTED: EXACT, Reproduced.CLOSE: CLOSE}
AS_PUBLISHED = (None, Place.INSIDE, Unplaced.IN_RANGE)


@dataclass(frozen=True)
class Found:
    """A number in a law file and its interval; None is not identified."""

    value: float | None
    interval: tuple[float, float] | None = None
    status: Status | None = None
    """Of the law, if it is one of its own parameters."""


def compare_constants(table: Path, laws: Mapping[str, LawResult]) -> pd.DataFrame:
    """One row per line of `table` (constants.tsv), with COLUMNS.

    `laws` are the study's by '{objective}.{law}'. Raises PlmScalingError if the table is missing or
    names what no law file holds.
    """
    if not table.is_file():
        raise PlmScalingError(f"{table}: no such table of published constants")
    given = pd.read_csv(table, sep="\t", comment="#", dtype=str, keep_default_na=False)
    if missing := [name for name in INPUT_COLUMNS if name not in given.columns]:
        raise PlmScalingError(
            f"{table}: {many(len(missing), 'column')} missing: {', '.join(missing)}"
        )
    rows = []
    for line, cells in enumerate(given.to_dict("records")):
        row = {str(name): str(cell) for name, cell in cells.items()}
        try:
            procedure = look_up(row["procedure"], laws)
            ours = look_up(row["ours"], laws)
            rows.append(_row(row, procedure, ours))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise PlmScalingError(
                f"{table}, constant {line + 1} ({row['name']} {row['objective']} {row['symbol']}): "
                f"the law files do not hold it ({error}); fit the laws of the study first"
            ) from error
    return pd.DataFrame(rows, columns=list(COLUMNS))


def look_up(where: str, laws: Mapping[str, LawResult]) -> Found:
    """The number at `where`: '', or [10^] LAW:step/step/… [@ FLOPs].

    A step is a key, or key=value, which keeps such rows of a list; the next key is that of the
    first row left. Raises KeyError naming what is absent.
    """
    if not where:
        return Found(None)
    power = where.startswith("10^ ")
    path, _, flops = where.removeprefix("10^ ").partition(" @ ")
    name, _, steps = path.partition(":")
    if name not in laws:
        raise KeyError(f"no law {name}")
    law = laws[name]
    value: Any = law.to_json()
    parent: Any = None
    last = ""
    for step in steps.split("/"):
        key, equals, wanted = step.partition("=")
        if equals:
            value = [row for row in value if str(row[key]) == wanted]
            continue
        parent, last = value[0] if isinstance(value, list) else value, step
        value = parent[step]
    status = law.status if steps.startswith("equations/") else None
    if flops:
        return replace(_at(value, float(flops), law), status=status)
    interval = parent.get("interval", {}).get(last) or parent.get(f"{last}_interval")
    if power and value is not None:
        value, interval = 10**value, interval and [10**end for end in interval]
    return Found(value, (interval[0], interval[1]) if interval else None, status)


def _at(equation: Mapping[str, Any], flops: float, law: LawResult) -> Found:
    """k·C^a at one compute; its interval is interpolated in the law's table of the frontier."""
    exponent = next(name for name in "abc" if name in equation)
    if equation["k"] is None:
        return Found(None)
    value = equation["k"] * flops ** equation[exponent]
    rows = [r for r in law.details.get("frontier", []) if r["n_params_interval"] is not None]
    if "interval" not in equation or len(rows) < 2:
        return Found(value)
    log_c = np.log([row["flops"] for row in rows])
    bounds = np.log([row["n_params_interval"] for row in rows]).T
    low, high = (math.exp(along(log_c, bound, math.log(flops))) for bound in bounds)
    return Found(value, around(value, (low, high)))


def _row(given: Mapping[str, str], procedure: Found, ours: Found) -> dict[str, Any]:
    spread = RANGE.match(given["published"])
    published = None if spread else float(given["published"])
    difference = reproduced = stands = None
    if published is not None and procedure.value is not None:
        reproduced = _reproduced(given["published"], procedure.value)
        difference = procedure.value / published - 1 if published else None
    if given["ours"]:
        stands = _place(spread or published, ours)
    low, high = (None, None) if stands == Unplaced.AT_BOUND else ours.interval or (None, None)
    row = {
        **{n: given[n] for n in ("name", "objective", "symbol", "form", "published", "source")},
        "by_their_procedure": procedure.value,
        "relative_difference": difference,
        "reproduced": reproduced,
        "ours": ours.value,
        "low": low,
        "high": high,
        "place": stands,
        "our_status": ours.status,
    }
    return row | {"verdict": _verdict(row, given["why"])}


def _reproduced(text: str, value: float) -> Reproduced:
    published = float(text)
    off = abs(value / published - 1) if published else abs(value)
    if abs(value - published) <= 0.5000001 * last_digit(text):
        return Reproduced.PRINTED if off <= CLOSE else Reproduced.ROUNDED
    return next((how for how, limit in NEAR.items() if published and off <= limit), Reproduced.NO)


def _place(published: float | re.Match[str] | None, ours: Found) -> Place | Unplaced:
    if ours.value is None:
        return Unplaced.NOT_DETERMINED
    if isinstance(published, re.Match):
        low, high = (float(text) for text in published.groups())
        return Unplaced.IN_RANGE if low <= ours.value <= high else Unplaced.OUT_OF_RANGE
    if published is None or ours.interval is None:
        return Unplaced.NO_INTERVAL
    if ours.interval[0] == ours.interval[1]:
        return Unplaced.AT_BOUND
    return place(published, ours.interval)


def _verdict(row: Mapping[str, Any], why: str) -> str:
    """A sentence for each enumerated value of the row, and why, unless all is as published."""
    reproduced, stands, off = row["reproduced"], row["place"], row["relative_difference"]
    numbers = {
        **{name: row[name] for name in ("low", "high", "ours")},
        "procedure": row["by_their_procedure"],
        "off": "" if off is None else f", {100 * abs(off):.2g} % off",
        "place": stands and stands[0].upper() + stands[1:],
    }
    values = (reproduced, stands, row["our_status"])
    parts = [SENTENCES[value].format(**numbers) for value in values if value in SENTENCES]
    as_published = reproduced != Reproduced.NO and stands in AS_PUBLISHED
    return " ".join(parts if as_published or not why else [*parts, why])


def in_short(reproduced: Any, stands: Any) -> dict[str, str]:
    """A verdict as a mark and some three words: ✓ where all is as published, ✗ where their
    procedure does not give it or it lies outside our interval, ? where neither can be said.

    Takes cells of the columns reproduced and place; an empty one is None or NaN.
    """
    said = [WORDS[value] for value in (reproduced, stands) if value in WORDS]
    if reproduced == Reproduced.NO or stands in OUTSIDE:
        mark = "✗"
    elif said and (stands not in WORDS or stands in WITHIN):
        mark = "✓"
    else:
        mark = "?"
    return {"mark": mark, "words": ", ".join(said) or "nothing to compare"}


def last_digit(text: str) -> float:
    """The unit of the last digit printed: '1.26e-3' → 1e-5, '6' → 1."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))
