"""The tables of the page: one dict per row, from column to cell, ready as text."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.files import read_json
from plm_scaling.common.progress import short_number
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.status import Check, Minimum, Status
from plm_scaling.report.template import code, flagged
from plm_scaling.sources.table import own_source, read_sources
from plm_scaling.sweep.stages import PlacedStage

DASH = "–"
STATUS_WORDS = {
    Status.CONVERGED: "converged",
    Status.TWO_POINTS: "two points, no residual",
    Status.AT_BOUND: "parameter at its bound",
    Status.CONTRADICTED: "contradicted by a check",
    Status.NOT_IDENTIFIED: "not identified",
}
EXAMPLES = 3  # of each source and side
HELD_OUT = {  # predicted − measured losses of a check
    "difference": "loss {:+.3f} nats",
    "mean_error": "loss {:+.3f} nats on average",
    "rms_error": "rms error {:.3f} nats",
    "excess": "the rate that it gives costs {:.4f} nats",
}


def text(value: float | None, form: str = ".4g") -> str:
    """A number in the given format, or a dash."""
    return DASH if value is None or pd.isna(value) else format(value, form)


def count(value: float | None) -> str:
    """Parameters or tokens, '2.83B', or a dash."""
    return DASH if value is None or pd.isna(value) else short_number(value)


def law_rows(laws: Sequence[LawResult]) -> list[dict[str, str]]:
    """One row per law: exponents with intervals, its other equations, and its status."""
    return [
        {
            "objective": law.objective.upper(),
            "law": law.law,
            "a": with_interval(law.equations.get("N"), "a"),
            "b": with_interval(law.equations.get("D"), "b"),
            "status": flagged(STATUS_WORDS[law.status], law.status == Status.CONVERGED),
            "runs": runs_used(law),
            "held-out largest budget": _held_out(law.details.get("held_out", {})),
            "other equations": _other_equations(law.equations),
        }
        for law in laws
    ]


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


def _other_equations(equations: Mapping[str, Equation]) -> str:
    """Those known besides N and D, which have columns: 'L = k·C^c; k = 7.7 [7.3, 8.8]; …'."""
    said = [
        f"{name} = {'; '.join(equation_text(equation))}"
        for name, equation in equations.items()
        if name not in ("N", "D") and any(v is not None for v in equation.parameters.values())
    ]
    return " / ".join(said) or DASH


def _held_out(check: dict[str, Any]) -> str:
    if check.get("status") != Check.DONE:
        return str(check.get("why", DASH))
    loss, said = check["loss"], []
    if "n_params" in check:
        said.append(f"N {check['n_params']['ratio']:.2f}× that found")
    if "ratio" in check:
        found = check["ratio"]
        said.append(f"mask ratio {found['predicted']:.3g}, found {text(found['measured'], '.3g')}")
    said += [form.format(loss[error]) for error, form in HELD_OUT.items() if error in loss]
    return ", ".join(said)


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
            "placed": stage.placed,
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
