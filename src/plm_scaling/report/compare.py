"""Two studies side by side: where their configs differ, what is kept, tokens, laws, losses."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import read_json
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.intervals import Overlap, overlap
from plm_scaling.laws.text import headline
from plm_scaling.report.html.template import drawn_inline, write_page
from plm_scaling.report.parts.cards import STATUS_WORDS, title
from plm_scaling.report.parts.tables import DASH, count
from plm_scaling.runs.tables import read_runs
from plm_scaling.study.laws import LAWS

INTERVALS = {Overlap.OVERLAPS: "overlap", Overlap.TOUCHES: "touch", Overlap.APART: "are apart"}
STAGES = ("clean", "dedup", "split", "filter")
CONFIG = "Config, where it differs"
SEQUENCES, LAW_ROWS, LOSSES = "Sequences", "Laws", "Lowest loss (nats/token)"
WIDEST = 40  # characters of a config value in the terminal


@dataclass(frozen=True)
class Row:
    """One fact of both studies as text, and how far the other one's is off."""

    what: str
    one: str
    other: str
    difference: str


@dataclass(frozen=True)
class Comparison:
    """The rows by section; a section without rows is left out. The studies that they are of."""

    names: tuple[str, str]
    sections: dict[str, list[Row]]
    studies: "tuple[Study, Study]"

    def to_json(self) -> dict[str, Any]:
        sections = {name: [asdict(row) for row in rows] for name, rows in self.sections.items()}
        return {"names": self.names, "sections": sections}


@dataclass(frozen=True)
class Study:
    """What is compared of a study; empty where its files are not there."""

    config: dict[str, Any]
    kept: dict[str, float]
    """Sequences and residues by stage, dropped ones by reason."""
    tokens: dict[str, float]
    laws: dict[str, LawResult]
    finished: pd.DataFrame
    """The finished runs, as in runs.csv."""


def compare_studies(one: Path, other: Path) -> Comparison:
    """Two results folders, or two folders of data. Raises RunsError naming what is neither."""
    a, b = _read(one), _read(other)
    differing = {
        key: value for key, value in _both(a.config, b.config).items() if value[0] != value[1]
    }
    sections = {
        CONFIG: [Row(key, _value(x), _value(y), "") for key, (x, y) in differing.items()],
        SEQUENCES: _numbers(a.kept, b.kept, lambda n: f"{n:,.0f}", _percent),
        "Tokens": _numbers(a.tokens, b.tokens, count, _percent),
        LAW_ROWS: [_law_row(name, x, y) for name, (x, y) in _both(a.laws, b.laws).items()],
        LOSSES: _numbers(
            *_losses(a.finished, b.finished), "{:.4f}".format, lambda x, y: f"{y - x:+.4f}"
        ),
    }
    return Comparison(
        (str(one), str(other)), {name: rows for name, rows in sections.items() if rows}, (a, b)
    )


def _read(folder: Path) -> Study:
    """A results folder and its data beside it, or a folder of data."""
    if (folder / "filter/counts.tsv").is_file():
        return Study({}, _kept(folder), _tokens(folder), {}, pd.DataFrame())
    if not (folder / "runs.csv").is_file():
        raise RunsError(
            f"{folder}: neither results (no runs.csv) nor data (no filter/counts.tsv); give two "
            "folders below results/ or data/"
        )
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = folder.resolve().parents[1] / "data" / str(config.get("data", {}).get("name"))
    laws = [read_law(path) for path in sorted((folder / "laws").glob("*.json"))]
    runs = read_runs(folder / "runs.csv")
    return Study(
        config=dict(_flat(config)),
        kept=_kept(data),
        tokens=_tokens(data),
        laws={title(law): law for law in laws if law.law in LAWS},
        finished=runs[runs["status"] == "finished"],
    )


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """('filter.min_length', 30) of nested keys."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _flat(part, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _kept(data: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for stage in STAGES:
        paths = sorted((data / stage).glob("**/*counts.tsv"))
        if not paths:
            continue
        table = pd.concat([pd.read_csv(path, sep="\t") for path in paths])
        sums = {
            unit: {str(why): float(n) for why, n in table.groupby("reason")[unit].sum().items()}
            for unit in ("sequences", "residues")
        }
        if stage == STAGES[0]:
            found["read"] = sums["sequences"]["in"]
        for reason, n in sums["sequences"].items():
            if n and reason not in ("in", "kept") and not reason.startswith("handled:"):
                found[f"{stage}: {reason.replace('_', ' ')}"] = n
        found[f"kept by {stage}"] = sums["sequences"]["kept"]
        found[f"kept by {stage}, residues"] = sums["residues"]["kept"]
    return found


def _tokens(data: Path) -> dict[str, float]:
    path = data / "tokens/manifest.json"
    if not path.is_file():
        return {}
    return {
        f"{split}, {source}, {stratum.replace('_', ' and ')}": part["tokens"]
        for split, whole in read_json(path)["splits"].items()
        for source, entry in whole["sources"].items()
        for stratum, part in entry["strata"].items()
    }


def _losses(one: pd.DataFrame, other: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """The lowest loss of each by objective and budget; none where one has no runs."""
    lowest: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for row in lowest_losses(one, other).to_dict("records"):
        name = f"{row['objective'].upper()} at {row['flops']:.2e} FLOPs"
        lowest[row["study"]][name] = row["loss"]
    return lowest


def lowest_losses(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The lowest loss (nats/token) of each `study` (0 and 1) by objective and budget, the budgets
    being those of all runs of both; no rows where one has no runs."""
    columns = ["objective", "flops", "loss", "study"]
    if one.empty or other.empty:
        return pd.DataFrame(columns=columns)
    runs = pd.concat(table.assign(study=i)[columns] for i, table in enumerate((one, other)))
    parts = [
        own.iloc[members].assign(flops=budget)
        for _, own in runs.groupby("objective")
        for budget, members in group_budgets(own["flops"].to_numpy(float))
    ]
    lowest = pd.concat(parts).groupby(["objective", "flops", "study"])["loss"].min()
    return lowest.reset_index()


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values of both by key, None where one has none; nothing where one is empty as a whole."""
    if not one or not other:
        return {}
    return {key: (one.get(key), other.get(key)) for key in dict.fromkeys([*one, *other])}


def _numbers(
    one: Mapping[str, float],
    other: Mapping[str, float],
    form: Callable[[float], str],
    difference: Callable[[float, float], str],
) -> list[Row]:
    rows = []
    for key, (x, y) in _both(one, other).items():
        off = DASH if x is None or y is None else "same" if x == y else difference(x, y)
        a, b = (DASH if value is None else form(value) for value in (x, y))
        rows.append(Row(key, a, b, off))
    return rows


def _percent(one: float, other: float) -> str:
    return f"{100 * (other / one - 1):+.1f} %" if one else DASH


def _value(value: Any) -> str:
    return DASH if value is None else str(value)


def _law_row(name: str, one: LawResult | None, other: LawResult | None) -> Row:
    a, b = (
        DASH if law is None else f"{headline(law)} ({STATUS_WORDS[law.status]})"
        for law in (one, other)
    )
    difference = DASH
    if one is not None and other is not None:
        equation, parameter, _ = LAWS[one.law].headline
        ends = [law.equations[equation].interval[parameter] for law in (one, other)]
        if ends[0] is not None and ends[1] is not None:
            difference = f"intervals {INTERVALS[overlap(ends[0], ends[1])]}"
    return Row(name, a, b, difference)


def comparison_text(found: Comparison) -> str:
    """One table per section, columns aligned."""
    lines = []
    for section, rows in found.sections.items():
        table = [(section, *found.names, "difference")]
        table += [
            (row.what, _cut(row.one, section), _cut(row.other, section), row.difference)
            for row in rows
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ] + [""]
    return "\n".join(lines).rstrip() or "nothing that both have"


def _cut(text: str, section: str) -> str:
    """A list of files or shapes in a config would make every line of its table too long."""
    return f"{text[: WIDEST - 1]}…" if section == CONFIG and len(text) > WIDEST else text


def write_comparison(out: Path, found: Comparison) -> None:
    """The same as a page, with a figure of the sequences, of the laws and of the losses."""
    from plm_scaling.figures import side_by_side  # not for the terminal
    from plm_scaling.figures.parts.style import style

    one, other = found.studies
    short = [Path(name).resolve().name for name in found.names]
    names = short if len(set(short)) == 2 else found.names
    kept = [
        {what: number for what, number in study.kept.items() if not what.endswith(", residues")}
        for study in found.studies
    ]
    sizes = side_by_side.size_lines([list(study.laws.values()) for study in found.studies])
    losses = lowest_losses(one.finished, other.finished)
    drawn = {}
    with style():
        if all(kept):
            drawn[SEQUENCES] = drawn_inline(side_by_side.funnels(kept, names), "funnel", SEQUENCES)
        if one.laws and other.laws and len(sizes):
            drawn[LAW_ROWS] = drawn_inline(
                side_by_side.best_sizes(sizes, names), "sizes", "Best size by compute"
            )
        if len(losses):
            drawn[LOSSES] = drawn_inline(
                side_by_side.lowest_losses(losses, names), "losses", LOSSES
            )
    template = Path(__file__).with_name("compare.html.j2")
    write_page(out, template, found=found, names=names, figures=drawn)
