"""From a table of runs to a law file: which runs are used, which are not and why."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from plm_scaling import __version__
from plm_scaling.errors import LawError
from plm_scaling.files import sha256_of
from plm_scaling.laws.intervals import percent
from plm_scaling.laws.isoflop import fit_isoflop
from plm_scaling.laws.parametric import fit_parametric
from plm_scaling.laws.result import LawResult, write_law
from plm_scaling.runs.tables import OBJECTIVES, read_runs

logger = logging.getLogger("plm_scaling")


@dataclass(frozen=True)
class Settings:
    """What the fits are told besides the runs; a law takes what it needs."""

    bootstrap: int
    level: float
    seed: int
    huber_delta: float


def _isoflop(runs: pd.DataFrame, settings: Settings) -> LawResult:
    n, d, c, loss = (runs[x].to_numpy(float) for x in ("n_params", "tokens", "flops", "loss"))
    return fit_isoflop(
        n, d, c, loss, bootstrap=settings.bootstrap, level=settings.level, seed=settings.seed
    )


def _parametric(runs: pd.DataFrame, settings: Settings) -> LawResult:
    n, d, loss = (runs[x].to_numpy(float) for x in ("n_params", "tokens", "loss"))
    return fit_parametric(
        n,
        d,
        loss,
        huber_delta=settings.huber_delta,
        bootstrap=settings.bootstrap,
        level=settings.level,
        seed=settings.seed,
    )


LAWS: dict[str, Callable[[pd.DataFrame, Settings], LawResult]] = {
    "isoflop": _isoflop,
    "parametric": _parametric,
}


def fit_law(
    law: str,
    objective: str,
    study: str,
    runs: Path,
    out: Path,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
    huber_delta: float = 1e-3,
) -> LawResult:
    """Fit `law` to the finished, not excluded runs of `objective` in `runs`; write and return it.

    Raises LawError if the law is unknown or no run can be used, RunsError for a bad table.
    """
    if law not in LAWS:
        raise LawError(f"no law named '{law}'; there are {', '.join(LAWS)}")
    if objective not in OBJECTIVES:
        raise LawError(f"no objective named '{objective}'; there are {', '.join(OBJECTIVES)}")
    table = read_runs(runs)
    table = table[table["objective"] == objective]
    used, excluded = split_usable(table)
    if used.empty:
        raise LawError(
            f"{runs}: none of the {len(table)} {objective} run(s) is finished and usable; train "
            f"{objective} cells first (`snakemake train`), or fit another objective"
        )
    try:
        result = LAWS[law](used, Settings(bootstrap, level, seed, huber_delta))
    except LawError as error:
        raise LawError(f"{objective} {law} from {runs}: {error}") from error
    result.objective, result.study = objective, study
    result.data = {"runs": str(runs), "sha256": sha256_of(runs)}
    result.excluded, result.version = excluded, __version__
    write_law(out, result)
    logger.info("[laws] %s", law_sentence(result))
    for warning in result.warnings:
        logger.debug("[laws] %s %s: %s", objective, law, warning)
    return result


def split_usable(table: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """The runs a law may use, and the others with the reason."""
    usable = (table["status"] == "finished") & (table["excluded"] == "")
    left_out = table[~usable]
    why = left_out["excluded"].where(left_out["excluded"] != "", left_out["status"])
    return table[usable], [
        {"run_id": run_id, "why": reason}
        for run_id, reason in zip(left_out["run_id"], why, strict=True)
    ]


def law_sentence(result: LawResult) -> str:
    """One line: the exponent of N_opt with its interval, and how the fit stands."""
    equation = result.equations["N"]
    value, interval = equation.parameters["a"], equation.interval["a"]
    head = f"{result.objective.upper()} {result.law}"
    if value is None:
        return f"{head}: no exponent from {result.n_points} runs ({result.status})"
    spread = "no interval"
    if interval is not None:
        spread = f"{percent(equation.level)} interval {interval[0]:.2f} to {interval[1]:.2f}"
    warned = f", {len(result.warnings)} warning(s)" if result.warnings else ""
    return f"{head}: N_opt ∝ C^{value:.2f}, {spread} ({result.status}{warned})"
