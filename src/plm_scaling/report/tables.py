"""The tables of the page, ready as text."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.files import read_json
from plm_scaling.common.progress import short_number
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.status import Check, Status
from plm_scaling.mmseqs.homology import NOT_TESTED

DASH = "–"
STATUS_WORDS = {
    Status.CONVERGED: "converged",
    Status.TWO_POINTS: "two points, no residual",
    Status.AT_BOUND: "parameter at its bound",
    Status.NOT_IDENTIFIED: "not identified",
}

EXAMPLES = 3  # of each source and side


def law_rows(laws: Sequence[LawResult]) -> list[dict[str, str]]:
    """One row per law: exponents with intervals, the rest of its parameters, and its health."""
    return [
        {
            "objective": law.objective.upper(),
            "law": law.law,
            "a": with_interval(law.equations.get("N"), "a"),
            "b": with_interval(law.equations.get("D"), "b"),
            "loss": _loss_parameters(law.equations.get("L")),
            "status": STATUS_WORDS[law.status],
            "good": "yes" if law.status == Status.CONVERGED else "",
            "runs": runs_used(law),
            "rms": DASH if law.residual_rms is None else f"{law.residual_rms:.2g}",
            "held_out": _held_out(law.details.get("held_out", {})),
        }
        for law in laws
    ]


def runs_used(law: LawResult) -> str:
    """'30 of 60' runs used; a law file of an earlier version says its points alone."""
    found = law.selection
    return f"{found['used']} of {found['given']}" if found else str(law.n_points)


def with_interval(equation: Equation | None, name: str) -> str:
    """'0.52 [0.50, 0.53]', or a dash."""
    value = equation.parameters.get(name) if equation else None
    if equation is None or value is None:
        return DASH
    interval = equation.interval[name]
    if interval is None:
        return f"{_digits(value)} [no interval]"
    return f"{_digits(value)} [{_digits(interval[0])}, {_digits(interval[1])}]"


def _digits(value: float) -> str:
    return f"{value:.3g}"


def _loss_parameters(equation: Equation | None) -> str:
    if equation is None or all(value is None for value in equation.parameters.values()):
        return DASH
    parts = [f"{name} = {with_interval(equation, name)}" for name in equation.parameters]
    return f"L = {equation.form.replace('*', '·')}; " + "; ".join(parts)


def _held_out(check: dict[str, Any]) -> str:
    if check.get("status") != Check.DONE:
        return str(check.get("why", DASH))
    loss = check["loss"]
    if "difference" in loss:
        return (
            f"N {check['n_params']['ratio']:.2f}× that found, loss {loss['difference']:+.3f} nats"
        )
    return f"loss {loss['mean_error']:+.3f} nats on average, rms {loss['rms_error']:.3f}"


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
                    "flops": f"{flops:.2e}",
                    "name": str(best[by]),
                    "size": str(best["size"]),
                    "loss": f"{best['loss']:.4f}",
                    "above": f"{best['above_best']:.4f}",
                    "same": f"{same.mean():.4f} ({len(same)})" if len(same) else DASH,
                }
            )
    return rows


def sweep_rows(runs: pd.DataFrame) -> list[dict[str, str]]:
    """One row per run."""
    ordered = runs.sort_values(["objective", "flops", "n_params"], kind="stable")
    return [
        {
            "run": run["run_id"],
            "objective": run["objective"].upper(),
            "corpus": run["corpus"],
            "recipe": run["recipe"],
            "start": run["init_from"] or "scratch",
            "size": run["size"] or DASH,
            "n_params": _short(run["n_params"]),
            "tokens": _short(run["tokens"]),
            "flops": DASH if pd.isna(run["flops"]) else f"{run['flops']:.2e}",
            "loss": DASH if pd.isna(run["loss"]) else f"{run['loss']:.4f}",
            "status": run["status"],
            "excluded": run["excluded"],
        }
        for run in ordered.to_dict("records")
    ]


def _short(value: float) -> str:
    return DASH if pd.isna(value) else short_number(value)


def funnel_rows(counts: Sequence[Path]) -> list[dict[str, str]]:
    """One row per stage and source: in, kept, residues kept, drops and handled facts by reason."""
    rows = []
    for path in counts:
        table = pd.read_csv(path, sep="\t")
        for (stage, source), part in table.groupby(["stage", "source"], sort=False):
            count = dict(zip(part["reason"], part["sequences"], strict=True))
            residues = dict(zip(part["reason"], part["residues"], strict=True))
            dropped = {k: v for k, v in count.items() if k not in ("in", "kept")}
            reasons = [
                f"{number:,} {str(reason).removeprefix('handled:').replace('_', ' ').strip()}"
                + (" (handled)" if str(reason).startswith("handled:") else "")
                for reason, number in dropped.items()
                if number
            ]
            rows.append(
                {
                    "stage": str(stage),
                    "source": str(source),
                    "in": f"{count.get('in', 0):,}",
                    "kept": f"{count.get('kept', 0):,}",
                    "residues": short_number(residues.get("kept", 0)),
                    "reasons": "; ".join(reasons) or "nothing",
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
            "tokens": short_number(part["tokens"]),
            "rows": f"{part['rows']:,}",
        }
        for split, whole in read_json(manifest)["splits"].items()
        for source, entry in whole["sources"].items()
        for stratum, part in entry["strata"].items()
    ]


def contamination_sentence(report: Path | None) -> str:
    """What the search for training sequences that cover held-out ones found, and what it is not."""
    if report is None:
        return ""
    found = read_json(report)
    criteria = found["criteria"]
    sets = ", ".join(
        f"{part['contaminated']:,} of {part['sequences']:,} {name.replace('_', ' ')}"
        for name, part in found["held_out"].items()
    )
    return (
        "Held-out sequences that a training sequence covers, of "
        f"{found['training_sequences']:,} training sequences: {sets}; MMseqs2 search with "
        f"{', '.join(f'{name} {json.dumps(value)}' for name, value in criteria.items())}, coverage "
        "being that of the held-out sequence. The split has dropped what the same search finds, so "
        f"this one can hardly find more. Not tested: {NOT_TESTED}."
    )


def example_rows(examples: Path | None) -> list[dict[str, str]]:
    """The first few sequences that fall out on either side of the perplexity thresholds."""
    if examples is None:
        return []
    table = pd.read_csv(examples, sep="\t", dtype={"id": str})
    first = table.groupby(["source", "reason"], sort=False).head(EXAMPLES)
    return [
        {
            "source": row["source"],
            "reason": str(row["reason"]).replace("_", " "),
            "id": row["id"],
            "length": f"{row['length']:,}",
            "perplexity": f"{math.exp(row['nll_per_residue']):.1f}",
            "residues": row["residues"],
        }
        for row in first.to_dict("records")
    ]


def source_rows(sources: Path | None, used: set[str]) -> list[dict[str, str]]:
    """The rows of the source table, of the `used` sources if any are known."""
    if sources is None:
        return []
    table = pd.read_csv(sources, sep="\t", dtype=str, keep_default_na=False)
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    return [row for row in rows if row["name"] in used] or rows
