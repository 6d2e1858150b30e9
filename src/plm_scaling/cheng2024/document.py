"""The tables of docs/study-laws.md with the study's numbers, from the laws that ship.

python -m plm_scaling.cheng2024.document docs/study-laws.md

A table stands between `<!-- the study: NAME -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plm_scaling.cheng2024.constants import compare_constants
from plm_scaling.cheng2024.rows import (
    constant_rows,
    equation_rows,
    named,
    optimum_rows,
    pair_rows,
    repeat_rows,
)
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.status import Check, Minimum
from plm_scaling.report.parts.cards import title
from plm_scaling.report.parts.tables import DASH, count, minimum_rows, text

PUBLISHED = Path(__file__).parents[1] / "published"
TABLE = re.compile(r"(<!-- the study: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Laws = Mapping[str, LawResult]
Rows = Sequence[Mapping[str, str]]


def document(page: str, folder: Path = PUBLISHED) -> str:
    """The text `page` with its tables made from the laws and constants in `folder`."""
    laws = {path.stem: read_law(path) for path in sorted((folder / "laws").glob("*.json"))}

    def table(found: re.Match[str]) -> str:
        rows = TABLES[found[2]](laws) if found[2] in TABLES else _equations(found[2], laws)
        return f"{found[1]}\n{markdown(rows)}\n{found[3]}"

    return TABLE.sub(table, page)


def markdown(rows: Rows) -> str:
    """A table, without columns in which all rows are empty."""
    names = [name for name in rows[0] if any(row[name] != DASH for row in rows)]
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(words: str) -> str:
    plain = re.sub(r"<[^>]+>", "", words)
    return plain.replace("*", r"\*").replace("|", r"\|")


def _equations(law: str, laws: Laws) -> Rows:
    return equation_rows({name: found for name, found in laws.items() if found.law == law})


def _constants(laws: Laws) -> Rows:
    """Those that the study's procedure can compute."""
    rows = constant_rows(compare_constants(PUBLISHED / "constants.tsv", laws))
    ours = ("ours", "interval", "mark", "words", "verdict")
    kept = [row for row in rows if row["procedure"] != DASH]
    return [{name: cell for name, cell in row.items() if name not in ours} for row in kept]


def _exponents(laws: Laws) -> Rows:
    """The exponent of N by points and space, of the published procedures and of our variants."""
    columns: dict[str, dict[tuple[str, str, str], str]] = {}
    for law in named("frontier", laws):
        column = columns.setdefault(law.objective, {})
        for row in (*law.details["published"], *law.details["variants"]):
            column[row["source"], row["points"], row["space"]] = _with_interval(row["N"], "a")
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    return [
        {"from": source, "points": points, "space": space}
        | {
            name.upper(): column.get((source, points, space), DASH)
            for name, column in columns.items()
        }
        for source, points, space in keys
    ]


def _near_frontier(laws: Laws) -> Rows:
    """The parametric law of all runs and of those near the frontier."""
    rows = []
    for law in named("parametric", laws):
        near = law.details["near_frontier"]
        all_runs = {name: eq.to_json() for name, eq in law.equations.items()}
        for which, fits, part, n in (
            ("all", all_runs, law.details, law.n_points),
            ("near the frontier", near["equations"], near, near["n_points"]),
        ):
            low, high = part["profile_E"]["flat_range"]
            rows.append(
                {"objective": law.objective.upper(), "runs": f"{n}, {which}"}
                | {name: _with_interval(fits["L"], name) for name in ("E", "alpha", "beta")}
                | {"a": _with_interval(fits["N"], "a"), "E within 2 %": f"{low:.2f} to {high:.2f}"}
            )
    return rows


def _mask_ratios(laws: Laws) -> Rows:
    return [
        {
            "N": count(size["n_params"]),
            "best ratio": _with_interval(size, "ratio"),
            "within noise of it": ", ".join(
                f"{100 * row['mask_ratio']:.0f} %" for row in size["ratios"] if row["within_noise"]
            ),
        }
        for law in named("mask_ratio", laws)
        for size in law.details["sizes"]
    ]


def _minima(laws: Laws) -> Rows:
    return minimum_rows(named("isoflop", laws), without=[Minimum.TOO_FEW_SIZES])


def _held_out(laws: Laws) -> Rows:
    """What each law predicts for the largest runs when fitted without them."""
    rows = []
    for law in (*named("isoflop", laws), *named("frontier", laws), *named("parametric", laws)):
        check = law.details["held_out"]
        if check["status"] != Check.DONE:
            continue
        runs = check.get("runs")  # of the parametric law, by rising compute
        loss = runs[-1] if runs else check["loss"]
        size = None if runs else check["n_params"]["ratio"]
        flops = runs[-1]["flops"] if runs else check["predicted_at_flops"]
        rows.append(
            {
                "law": title(law),
                "at C": f"{flops:.2g}",
                "N predicted ÷ measured": text(size, ".2f"),
                "loss predicted": f"{loss['predicted']:.3f}",
                "measured": f"{loss['measured']:.3f}",
            }
        )
    return rows


def _starts(laws: Laws) -> Rows:
    return [
        {"law": title(law), "from": f"{100 * row['from_share']:.0f} %"}
        | {"points": str(row["n_points"]), "a": text(row["a"], ".2f"), "b": text(row["b"], ".2f")}
        for law in named("transfer", laws)
        for row in law.details["D_t_by_start"]
    ]


def _with_interval(fit: Mapping[str, Any], name: str) -> str:
    ends = fit.get("interval", {}).get(name) or fit.get(f"{name}_interval")
    bound = " (at its bound)" if ends and ends[0] == ends[1] else ""
    spread = f" [{ends[0]:.3g}, {ends[1]:.3g}]" if ends else ""
    return text(fit[name], ".3g") + (bound or spread)


def _repeats(laws: Laws) -> Rows:
    return [{k: v for k, v in row.items() if k not in ("", "note")} for row in repeat_rows(laws)]


TABLES: Mapping[str, Callable[[Laws], Rows]] = {
    "constants": _constants,
    "exponents": _exponents,
    "near_frontier": _near_frontier,
    "minima": _minima,
    "held_out": _held_out,
    "starts": _starts,
    "optima": optimum_rows,
    "mask_ratios": _mask_ratios,
    "repeats": _repeats,
    "pairs": pair_rows,
}

if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(document(path.read_text()))
