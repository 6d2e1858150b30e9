"""Two laws of the same runs that say different things: isoflop and parametric, of the exponent a.

Both estimate N_opt ∝ C^a. Where both determine it and their values lie further apart than their
intervals allow, at least one rests on an assumption that the runs do not keep, and neither is to be
called converged.
"""

from dataclasses import replace

import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.laws import law_module
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.intervals import apart
from plm_scaling.laws.status import Status
from plm_scaling.study.laws import LAWS

RESAMPLES = 200  # of the other law, whose ends need no second digit


def compare_with_other(
    result: LawResult, runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> None:
    """Where the other law, fitted to the same `runs`, contradicts an isoflop or parametric law, add
    that to its evidence and judge it again; other laws, and one without an interval, are left
    alone."""
    name = LAWS[result.law].compared_with
    if not name or result.status == Status.NOT_IDENTIFIED or not result.equations["N"].known("a"):
        return
    fewer = replace(settings, bootstrap=min(settings.bootstrap, RESAMPLES))
    try:
        other = law_module(name).fit_tables(runs, curves, fewer)
    except LawError:  # runs that this law can use and the other cannot
        return
    if said := disagreement(result, other):
        result.evidence["contradictions"] = [*result.evidence.get("contradictions", []), said]
        result.judge()


def disagreement(one: LawResult, other: LawResult) -> str:
    """How far apart two laws put a, as a sentence; '' where their intervals allow it."""
    here, there = (law.equations["N"].known("a") for law in (one, other))
    if here is None or there is None or other.status == Status.NOT_IDENTIFIED:
        return ""
    difference, allowed = apart(here, there)
    if difference <= allowed:
        return ""
    a, low, high = there
    return (
        f"the {other.law} law of the same runs gives a = {a:.3f} ({low:.3f} to {high:.3f}), "
        f"{difference:.3f} from this one's {here[0]:.3f}, where the intervals allow {allowed:.3f}"
    )
