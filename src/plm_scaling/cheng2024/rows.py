"""The tables of the published constants and of the laws fitted to the released logs, as text.

One dict per row, from column to cell; the page shows them, and docs/study-laws.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from plm_scaling.cheng2024.constants import RANGE, in_short
from plm_scaling.cheng2024.findings import row_checks
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Status
from plm_scaling.report.html.template import code, flagged
from plm_scaling.report.parts import cards
from plm_scaling.report.parts.tables import DASH, count, runs_used, text

LATER_OFFSET = "epochs 0.75-1"


def named(name: str, laws: Mapping[str, LawResult]) -> list[LawResult]:
    """The laws of a name, by objective."""
    return [law for law in laws.values() if law.law == name]


def _ends(interval: Sequence[float | None] | None) -> str:
    """'0.5 to 0.6', 'open' for an end that has no value, or a dash."""
    if interval is None:
        return DASH
    return " to ".join("open" if end is None else f"{end:.3g}" for end in interval)


def constant_rows(constants: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of the constants as text, the verdict also as a mark and three words."""
    return [
        {
            "name": row["name"],
            "objective": row["objective"].upper(),
            "symbol": row["symbol"],
            "form": row["form"],
            "published": RANGE.sub(r"\1 to \2", row["published"]),
            "procedure": text(row["by_their_procedure"], ".5g"),
            "difference": text(row["relative_difference"], "+.1e"),
            "ours": text(row["ours"], ".3g"),
            "interval": DASH if pd.isna(row["low"]) else _ends((row["low"], row["high"])),
            **in_short(row["reproduced"], row["place"]),
            "verdict": row["verdict"],
        }
        for row in constants.to_dict("records")
    ]


def marks(rows: Sequence[Mapping[str, str]]) -> str:
    """'36 constants: 27 ✓ as published, 7 ✗ not by one procedure or both, 2 ? open'."""
    found = Counter(row["mark"] for row in rows)
    means = {"✓": "as published", "✗": "not by one procedure or both", "?": "open"}
    said = (f"{found[mark]} {mark} {meaning}" for mark, meaning in means.items())
    return f"{len(rows)} constants: {', '.join(said)}"


def equation_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per equation of each law, its parameters with their intervals."""
    rows = []
    for law in laws.values():
        for row in cards.equation_rows(law):
            status = Status.NOT_IDENTIFIED if DASH in row.values() else law.status
            said = flagged(cards.STATUS_WORDS[status], status == Status.CONVERGED)
            rows.append({"law": cards.title(law), **row, "points": runs_used(law), "status": said})
    return rows


def optimum_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """The optima of the parametric fits, the published row and where a descent from it ends."""
    rows = []
    for law in named("parametric", laws):
        best = law.details["optima"][0]["objective_value"]
        listed = [
            ("optimum of the law's runs", o, o["objective_value"] / best)
            for o in law.details["optima"]
        ]
        for check in row_checks(law):
            where, ratio = check["source"], check["polished_ratio_to_best"]
            listed.append((f"Table A9, {where}", check["row"], check["ratio_to_best"]))
            listed.append((f"best fit, {where}", check["best"], 1.0))
            listed.append((f"descent from Table A9, {where}", check["polished"], ratio))
        for what, values, ratio in listed:
            alpha, beta = values["alpha"], values["beta"]
            rows.append(
                {
                    "objective": law.objective.upper(),
                    "what": what,
                    "misfit ÷ best": f"{ratio:.3f}",
                    **{name: text(values[name]) for name in ("E", "A", "B")},
                    "α": text(alpha),
                    "β": text(beta),
                    "a": f"{beta / (alpha + beta):.3f}" if alpha + beta > 0 else DASH,
                }
            )
    return rows


def repeat_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per repeated run, in the order of the figure's panels."""
    sizes = [
        (law.objective.upper(), size)
        for law in named("repeated", laws)
        for size in law.details.get("sizes", [])
    ]
    return [
        {
            "": chr(ord("a") + place),
            "objective": objective,
            "run": code(size["run_id"]),
            "epochs": f"{size['epochs']:.1f}",
            "offset (nats)": f"{size['offset_nats']:.4f}",
            "R*": text(size["R_D"], ".3g"),
            "interval": _ends(size["interval"]),
            "R* by the later offset": text(_later_offset(size), ".3g"),
            "worth at the end (epochs)": text(size["effective_over_unique_at_end"], ".3g"),
            "misfit (nats)": f"{size['rms_smoothed_nats']:.4f}",
            "additive term (nats)": f"{size['excess']['c']:.2g}·R^{size['excess']['kappa']:.2f}",
            "note": size["why"],
        }
        for place, (objective, size) in enumerate(sizes)
    ]


def _later_offset(size: Mapping[str, Any]) -> float | None:
    """R* with the offset between the corpora from late in the first epoch; None without any R*."""
    last = next(row for row in size["offset_sensitivity"] if row["offset_from"] == LATER_OFFSET)
    found: float = last["least_misfit_R_D"]
    return None if size["R_D"] is None else found


def pair_rows(laws: Mapping[str, LawResult]) -> list[dict[str, str]]:
    """One row per pair of a transferred run and its partner from scratch."""
    return [
        {
            "direction": f"{pair['source'].split(':')[0].upper()} → {law.objective.upper()}",
            "N": count(pair["n_params"]),
            "C of the second run (FLOPs)": f"{pair['flops']:.2g}",
            "share of all compute in the first": f"{100 * pair['source_share']:.0f} %",
            "loss from scratch": f"{pair['scratch_loss']:.4f}",
            "transferred": f"{pair['loss']:.4f}",
            "gain (nats)": f"{pair['gain_nats']:.4f}",
            "interval": _ends(pair["gain_interval"]),
            "compute from scratch ÷ all spent": text(pair["compute_ratio"], ".3g"),
        }
        for law in named("transfer", laws)
        for pair in law.details["pairs"]
    ]
