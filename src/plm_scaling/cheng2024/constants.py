"""Each published constant, its value by the study's own procedure, and ours, with a verdict.

`resources/published/constants.tsv` holds the published values and where the law files have the
others.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Place, place
from plm_scaling.laws.stats.power import along
from plm_scaling.laws.verdict import around

INPUT_COLUMNS = (
    *("name", "objective", "symbol", "published", "form", "source", "procedure", "ours", "why"),
)
COLUMNS = (
    *("name", "objective", "symbol", "form", "published", "by_their_procedure"),
    *("relative_difference", "ours", "low", "high", "verdict", "source"),
)
RANGE = re.compile(r"^([\d.]+)-([\d.]+)$")
FOUND_COLUMNS = ("reproduced", "place")  # the verdict for the findings; not in constants.csv
CLOSE = 0.01  # relative
UNDETERMINED = "Our fit does not determine it."
EXACT = 1e-4  # relative; closer than this counts as reproduced however many digits were printed


@dataclass(frozen=True)
class Found:
    """A number in a law file and its interval; None is not identified."""

    value: float | None
    interval: tuple[float, float] | None = None


def compare_constants(table: Path, laws: Mapping[str, LawResult]) -> pd.DataFrame:
    """One row per line of `table` (constants.tsv), with COLUMNS and FOUND_COLUMNS.

    `laws` are the study's by '{objective}.{law}'. Raises PlmScalingError if the table is missing or
    names what no law file holds.
    """
    if not table.is_file():
        raise PlmScalingError(f"{table}: no such table of published constants")
    given = pd.read_csv(table, sep="\t", comment="#", dtype=str, keep_default_na=False)
    if missing := [name for name in INPUT_COLUMNS if name not in given.columns]:
        raise PlmScalingError(f"{table}: column(s) missing: {', '.join(missing)}")
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
    return pd.DataFrame(rows, columns=[*COLUMNS, *FOUND_COLUMNS])


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
    if flops:
        return _at(value, float(flops), law)
    interval = parent.get("interval", {}).get(last) or parent.get(f"{last}_interval")
    if power and value is not None:
        value, interval = 10**value, interval and [10**end for end in interval]
    return Found(value, (interval[0], interval[1]) if interval else None)


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
    difference = None
    if published and procedure.value is not None:
        difference = procedure.value / published - 1
    low, high = ours.interval or (None, None)
    parts, plain = [], True
    reproduced = stands = None
    if procedure.value is not None and published is not None:
        sentence, reproduced = _reproduced(given["published"], published, procedure.value)
        plain = reproduced or (difference is not None and abs(difference) <= CLOSE)
        parts.append(sentence)
    if spread:
        sentence, inside = _in_range(spread, ours)
    elif published is None or ours.value is None:
        sentence, inside = UNDETERMINED if given["ours"] else "", not given["ours"]
    else:
        stands = None if ours.interval is None else place(published, ours.interval)
        sentence, inside = _in_interval(stands, ours), stands == Place.INSIDE
    parts += [sentence] if sentence else []
    if given["why"] and not (plain and inside):
        parts.append(given["why"])
    return {
        **{n: given[n] for n in ("name", "objective", "symbol", "form", "published", "source")},
        "by_their_procedure": procedure.value,
        "relative_difference": difference,
        "ours": ours.value,
        "low": low,
        "high": high,
        "verdict": " ".join(parts),
        "reproduced": reproduced,
        "place": stands,
    }


def _reproduced(text: str, published: float, value: float) -> tuple[str, bool]:
    """How close their procedure comes, and whether it reproduces the printed digits."""
    if abs(value - published) <= 0.5000001 * last_digit(text):
        return "Reproduced to the last digit printed.", True
    if published == 0:
        return f"Their procedure gives {value:.3g} on these runs.", False
    off = abs(value / published - 1)
    if off <= EXACT:
        return f"Reproduced to {_power(off)} (relative).", True
    if off > 0.5:
        return f"Their procedure gives {value:.4g} on these runs: not reproduced.", False
    return f"Their procedure gives {value:.4g} on these runs, {100 * off:.2g} % off.", False


def _in_interval(stands: Place | None, ours: Found) -> str:
    if stands is None or ours.interval is None:
        return f"We find {ours.value:.3g}, without an interval."
    low, high = ours.interval
    return f"{stands[0].upper()}{stands[1:]} our interval {low:.3g} to {high:.3g}."


def _in_range(spread: re.Match[str], ours: Found) -> tuple[str, bool]:
    """Whether our value lies in a published range."""
    low, high = (float(text) for text in spread.groups())
    if ours.value is None:
        return "The released runs do not determine it.", False
    inside = low <= ours.value <= high
    words = "" if ours.interval is None else f" ({ours.interval[0]:.3g} to {ours.interval[1]:.3g})"
    return f"Ours, {ours.value:.3g}{words}, lies {'in' if inside else 'out'}side the range.", inside


def last_digit(text: str) -> float:
    """The unit of the last digit printed: '1.26e-3' → 1e-5, '6' → 1."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))


def _power(off: float) -> str:
    """The power of ten above a difference: 3e-8 → '1e-07'."""
    return "rounding" if off == 0 else f"{10.0 ** math.ceil(math.log10(off)):.0e}"
