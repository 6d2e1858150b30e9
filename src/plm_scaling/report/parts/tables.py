"""The tables of the page: one dict per row, from column to cell, ready as text."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.common.files import read_json
from plm_scaling.common.progress import short_number
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.status import Minimum
from plm_scaling.report.html.template import code, flagged
from plm_scaling.sources.table import own_source, read_sources
from plm_scaling.sweep.stages import PlacedStage

DASH = "–"
EXAMPLES = 3  # of each source and side


def text(value: float | None, form: str = ".4g") -> str:
    """A number in the given format, or a dash."""
    return DASH if value is None or pd.isna(value) else format(value, form)


def count(value: float | None) -> str:
    """Parameters or tokens, '2.83B', or a dash."""
    return DASH if value is None or pd.isna(value) else short_number(value)


def moment(time: str) -> str:
    """'2026-11-30 11:46' of '2026-11-30T11:46:20Z'."""
    return time[:16].replace("T", " ")


def runs_used(law: LawResult) -> str:
    """'30 of 60' runs used; of a law file of an earlier version its number of points."""
    found = law.selection
    return f"{found['used']} of {found['given']}" if found else str(law.n_points)


def with_interval(equation: Equation | None, name: str) -> str:
    """'0.52 [0.50, 0.53]', or a dash."""
    value = equation.parameters.get(name) if equation else None
    if equation is None or value is None:
        return DASH
    interval = equation.interval[name]
    if interval is None:
        return f"{value:.3g} [no interval]"
    return f"{value:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"


def equation_text(equation: Equation) -> tuple[str, str]:
    """The right-hand side of an equation, and its parameters with their intervals."""
    parameters = "; ".join(f"{p} = {with_interval(equation, p)}" for p in equation.parameters)
    return equation.form.replace("*", "·"), parameters


def minimum_rows(
    laws: Iterable[LawResult], without: Sequence[Minimum] = ()
) -> list[dict[str, str]]:
    """The IsoFLOP minima, refused ones with the reason; not those of a status in `without`."""
    return [
        {
            "objective": law.objective.upper(),
            "C (FLOPs)": f"{row['flops']:.3g}",
            "runs": str(row["n_runs"]),
            "N at the minimum": count(row["n_params"]),
            "interval": " to ".join(map(count, row["n_params_interval"] or [])) or DASH,
            "tokens": count(row["tokens"]),
            "loss": text(row["loss"], ".4f"),
            "verdict": flagged(row["reason"] or "accepted", good=not row["reason"]),
        }
        for law in laws
        for row in law.details.get("minima", [])
        if row["status"] not in without
    ]


def stage_rows(stages: Iterable[PlacedStage]) -> list[dict[str, str]]:
    """One row per budget that a stage placed."""
    return [
        {
            "stage": str(stage.stage),
            "placed (UTC)": moment(stage.placed),
            "runs": str(len(stage.runs)),
            "objective": one.objective.upper(),
            "corpus": one.corpus,
            "recipe": one.recipe,
            "C (FLOPs)": f"{one.flops:.3g}",
            "sizes": ", ".join(one.sizes),
            "seeds": ", ".join(map(str, one.seeds)),
            "N expected": count(one.law.n_params if one.law else None),
            "interval": " to ".join(map(count, one.law.n_params_interval)) if one.law else DASH,
            "why": one.why,
        }
        for stage in stages
        for one in stage.budgets
    ]


def comparison_rows(table: Path, by: str) -> list[dict[str, str]]:
    """One row per objective, budget and corpus or recipe (`by`), from the figure's table."""
    if not table.is_file():
        return []
    found = pd.read_csv(table, dtype={"at": str, "size": str, by: str})
    rows = []
    for (objective, flops), budget in found.groupby(["objective", "flops"]):
        sizes = budget[budget["at"] != "best"]
        for best in budget[budget["at"] == "best"].sort_values("loss").to_dict("records"):
            same = sizes.loc[sizes[by] == best[by], "above_best"]
            rows.append(
                {
                    "objective": str(objective).upper(),
                    "C (FLOPs)": f"{flops:.2e}",
                    by: str(best[by]),
                    "size": str(best["size"]),
                    "loss": f"{best['loss']:.4f}",
                    "above the best": f"{best['above_best']:.4f}",
                    "at equal size": f"{same.mean():.4f} ({len(same)})" if len(same) else DASH,
                }
            )
    return rows


def runs_line(runs: pd.DataFrame) -> str:
    """'30 runs at 3e+11 to 3e+12 FLOPs'."""
    flops = runs["flops"]
    return f"{len(runs)} runs at {flops.min():.2g} to {flops.max():.2g} FLOPs"


def sweep_rows(runs: pd.DataFrame) -> list[dict[str, str]]:
    """One row per run."""
    ordered = runs.sort_values(["objective", "flops", "n_params"], kind="stable")
    return [
        {
            "run": code(run["run_id"]),
            "objective": run["objective"].upper(),
            "corpus": run["corpus"],
            "recipe": run["recipe"],
            "start": run["init_from"] or "scratch",
            "size": run["size"] or DASH,
            "N": count(run["n_params"]),
            "tokens": count(run["tokens"]),
            "C (FLOPs)": text(run["flops"], ".2e"),
            "loss": text(run["loss"], ".4f"),
            "status": flagged(run["excluded"] or run["status"], good=not run["excluded"]),
        }
        for run in ordered.to_dict("records")
    ]


def funnel_rows(counts: Sequence[Path]) -> list[dict[str, str]]:
    """One row per stage and source: in, kept, residues kept, drops and handled facts by reason."""
    rows = []
    for path in counts:
        table = pd.read_csv(path, sep="\t")
        for (stage, source), part in table.groupby(["stage", "source"], sort=False):
            sequences = dict(zip(part["reason"], part["sequences"], strict=True))
            residues = dict(zip(part["reason"], part["residues"], strict=True))
            reasons = [
                f"{number:,} {str(reason).removeprefix('handled:').replace('_', ' ').strip()}"
                + (" (handled)" if str(reason).startswith("handled:") else "")
                for reason, number in sequences.items()
                if number and reason not in ("in", "kept")
            ]
            rows.append(
                {
                    "stage": str(stage),
                    "source": str(source),
                    "in": f"{sequences.get('in', 0):,}",
                    "kept": f"{sequences.get('kept', 0):,}",
                    "residues kept": count(residues.get("kept", 0)),
                    "dropped or handled": "; ".join(reasons) or "nothing",
                }
            )
    return rows


def funnel_line(counts: Sequence[Path]) -> str:
    """'6,000 sequences read, 4,830 kept for training'; '' without the first and the last stage."""
    if not counts:
        return ""
    table = pd.concat([pd.read_csv(path, sep="\t") for path in counts])
    sums = table.groupby(["stage", "reason"])["sequences"].sum()
    if ("clean", "in") not in sums or ("filter", "kept") not in sums:
        return ""
    return f"{sums['clean', 'in']:,} sequences read, {sums['filter', 'kept']:,} pass the filter"


def token_rows(manifest: Path | None) -> list[dict[str, str]]:
    """One row per split, source and stratum of the token shards."""
    if manifest is None:
        return []
    return [
        {
            "split": split,
            "source": source,
            "stratum": stratum.replace("_", " and "),
            "sequences": f"{part['sequences']:,}",
            "tokens": count(part["tokens"]),
            "rows": f"{part['rows']:,}",
        }
        for split, whole in read_json(manifest)["splits"].items()
        for source, entry in whole["sources"].items()
        for stratum, part in entry["strata"].items()
    ]


def example_rows(examples: Path | None) -> list[dict[str, str]]:
    """The first few sequences on either side of the perplexity thresholds."""
    if examples is None:
        return []
    table = pd.read_csv(examples, sep="\t", dtype={"id": str})
    first = table.groupby(["source", "reason"], sort=False).head(EXAMPLES)
    return [
        {
            "source": row["source"],
            "why": str(row["reason"]).replace("_", " "),
            "id": row["id"],
            "length": f"{row['length']:,}",
            "perplexity": f"{math.exp(row['nll_per_residue']):.1f}",
            "first residues": code(row["residues"]),
        }
        for row in first.to_dict("records")
    ]


def source_rows(sources: Path | None, own: str, used: set[str]) -> list[dict[str, str]]:
    """The rows of the source table and of the config's `own` (JSON), of the `used` sources if any
    are known."""
    if sources is None:
        return []
    declared = json.loads(own).items()
    rows = read_sources(sources) | {name: own_source(name, columns) for name, columns in declared}
    return [
        {
            "name": row.name,
            "release": row.release,
            "licence": row.licence or "not stated",
            "role": row.role,
            "checksum": code(row.checksum[:19] or DASH),
        }
        for row in rows.values()
        if row.name in used or used.isdisjoint(rows)
    ]
