"""Places a stage of a sweep: sizes around the minimum that earlier stages lead to expect, and
seeds where noise could hide it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.special import ndtri

from plm_scaling.common.errors import LawError, SweepError
from plm_scaling.common.files import write_json
from plm_scaling.common.progress import logger, short_number
from plm_scaling.config.schema import Laws, SweepInputs
from plm_scaling.config.sweep import Objective, Recipe, Stage
from plm_scaling.design.place import WIDENED, sizes_around
from plm_scaling.design.placing.rates import stage_rates
from plm_scaling.design.placing.seeds import Noise, seeds_from, seeds_needed
from plm_scaling.laws.fit import fit_runs
from plm_scaling.laws.isoflop.parabola import MIN_SIZES
from plm_scaling.laws.predict import optimum
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Minimum
from plm_scaling.runs.collect import collect_runs
from plm_scaling.runs.own_tables import read_table
from plm_scaling.study.cell import Cell
from plm_scaling.study.sweep_table import write_sweep
from plm_scaling.sweep.cells import (
    awaited_cells,
    grid_cells,
    plan_cells,
    sizes_in_range,
    tuning_only,
)
from plm_scaling.sweep.single import waiting_cells
from plm_scaling.sweep.stages import (
    FIRST_PLACED,
    Curve,
    Placed,
    PlacedStage,
    PlacingLaw,
    Stages,
    Tuned,
    curves_of,
    in_sweep,
    read_stages,
    tuned_of,
)
from plm_scaling.sweep.supply import Supply, made_tokens


def place_stage(
    blocks: SweepInputs,
    laws: Laws,
    final_evaluations: int,
    runs: Path,
    sweep: Path,
    out: Path,
    tokens: Path | None = None,
) -> None:
    """Place stage `out` ({number}.json) from the runs of the earlier ones that have ended.

    The table of the sweep gets its cells first, so that no cell trains without its row there.
    Raises `SweepError` where the stage is there already: a stage is placed once.

    Args:
        blocks: of the config
        laws: this block of the config
        final_evaluations: how many of the last validation losses are averaged
        runs: folder of {cell}/result.json
        sweep: sweep.tsv, written again
        out: record of the stage (JSON); those of earlier stages lie beside it
        tokens: manifest of the token shards; where it is not there, batches of the law of
            sweep.tuning are not compared with the corpus
    """
    number = int(out.stem)
    if out.exists():
        raise SweepError(f"{out} is there, and a stage is placed once; move it aside to place anew")
    stages = read_stages(out.parent, blocks.sweep)
    earlier = {n: stage for n, stage in stages.items() if n < number}
    supply = made_tokens(tokens) if tokens and tokens.is_file() else None
    with TemporaryDirectory() as folder:
        tables = [Path(folder, name) for name in ("runs.csv", "curves.parquet", "evaluations.csv")]
        before = Path(folder, "sweep.tsv")
        write_sweep(awaited_cells(blocks, earlier), before, tuning_only(blocks, earlier))
        collect_runs(before, runs, final_evaluations, *tables)
        stage = place(blocks, laws, number, earlier, read_table(tables[0]), tables[1], supply)
    stage = stage.model_copy(update={"single": _single(blocks, earlier, runs)})
    placed = stages | {number: stage}
    write_sweep(plan_cells(blocks, placed), sweep, tuning_only(blocks, placed))
    write_json(out, stage.model_dump(mode="json"))
    for line in stage.said:
        logger.info(f"[stage {number}] {line}")


def _single(blocks: SweepInputs, earlier: Stages, runs: Path) -> bool:
    """Whether single and transferred cells take the laws of the stage: not if cells of the stages
    before did not, or if one that waits has been trained with what the config's training gives, by
    an earlier version or before there was `sweep.tuning`."""
    waiting = {c.cell for cells in waiting_cells(blocks, earlier).values() for c in cells}
    others = waiting - {*awaited_cells(blocks, earlier)}
    trained = any((runs / name).exists() for name in others)
    kept = in_sweep(blocks.sweep, earlier)
    return not trained and all(stage.single for stage in kept.values())


def place(
    blocks: SweepInputs,
    laws: Laws,
    number: int,
    earlier: Stages,
    table: pd.DataFrame,
    curves: Path,
    supply: Supply | None = None,
) -> PlacedStage:
    """Stage `number` by the laws of the runs in `table`, of all `earlier` stages and those that
    tune; `supply` is what the data give, if that is known."""
    asked = laws.model_dump(include={"bootstrap", "level", "axes"})
    settings = Settings(**asked, seed=blocks.seed)
    stage = blocks.sweep.stages[number - FIRST_PLACED]
    wanted = [*curves_of(blocks.sweep, number)]
    cells, fitted = grid_cells(blocks, earlier), {}
    for of in dict.fromkeys(curve[1:] for curve in wanted):
        own = {n: c for n, c in cells.items() if (c.objective, c.corpus, c.recipe) == of}
        fitted[of] = _law(table[table["run_id"].isin(own)], of[0], curves, settings), own
    awaited = awaited_cells(blocks, earlier)
    rates = stage_rates(blocks, earlier, awaited, table, curves, settings, supply)
    budgets = [_placed(blocks, stage, curve, fitted[curve[1:]][0]) for curve in wanted]
    if rates:
        budgets = [_with(one, rates[one.objective, one.recipe].laws) for one in budgets]
    now = in_sweep(blocks.sweep, earlier)
    for of, (law, own) in fitted.items():
        more = _more_seeds(blocks, stage, of, law, own) if law else ()
        budgets += (_with(one, tuned_of(now, one.curve)) for one in more)
    usable = table["status"] == "finished"
    others = table[~usable]
    return PlacedStage(
        stage=number,
        placed=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=sorted(table.loc[usable, "run_id"]),
        without=dict(zip(others["run_id"], others["excluded"], strict=True)),
        budgets=budgets,
        rates=[one.text for one in rates.values()],
    )


def _with(budget: Placed, laws: Tuned) -> Placed:
    return budget.model_copy(update=laws._asdict())


def _law(runs: pd.DataFrame, objective: str, curves: Path, settings: Settings) -> LawResult | None:
    """The IsoFLOP law; None where no run can be used."""
    if runs.empty:
        return None
    try:
        return fit_runs("isoflop", runs, objective, curves, settings)
    except LawError as error:
        logger.info(f"[stage] {error}")
        return None


def _placed(blocks: SweepInputs, stage: Stage, curve: Curve, law: LawResult | None) -> Placed:
    """The sizes and seeds of a budget of the stage."""
    flops, objective, corpus, recipe = curve
    known = sizes_in_range(blocks, flops, recipe)
    low, high = np.log([min(known.values()), max(known.values())]) if known else (0.0, 0.0)
    seeds = len(blocks.sweep.seeds)
    if law is None or (said := _said(law, flops)) is None:
        said = None
        sizes = sizes_around((low + high) / 2, 0.0, known, stage.sizes, (high - low) / 2)
        why = "no law of the earlier stages says where the minimum is: spread over all in range"
    else:
        log_n = float(np.log(said.n_params))
        middle, half = _span(log_n, said.log_n_sd, stage.reach, low, high)
        sizes = sizes_around(middle, 0.0, known, stage.sizes, half)
        why = (
            f"around {short_number(said.n_params)} parameters, where the law of the earlier stages "
            f"({said.status}) has the minimum"
        )
        if not low <= log_n <= high:
            why += "; that lies outside the sizes in range"
        seeds = _seeds_at(law, flops, np.log([known[s] for s in sizes]), log_n, seeds, stage)
    return Placed(
        objective=objective,
        corpus=corpus,
        recipe=recipe,
        flops=flops,
        sizes=sizes,
        seeds=seeds_from(blocks.sweep.seeds, seeds),
        why=why,
        law=said,
    )


def _said(law: LawResult, flops: float) -> PlacingLaw | None:
    """N_opt at `flops` with its interval; None where the law does not reach."""
    try:
        (row,) = optimum(law, np.array([flops])).to_dict("records")
    except LawError:
        return None
    low, high = row["n_params_low"], row["n_params_high"]
    if not (np.isfinite(row["n_params"]) and np.isfinite(low) and np.isfinite(high)):
        return None
    level = law.equations["N"].level
    k, a = (float(value) for value in law.equations["N"].parameters.values() if value is not None)
    return PlacingLaw(
        status=law.status,
        k=k,
        a=a,
        n_params=float(row["n_params"]),
        n_params_interval=(float(low), float(high)),
        level=level,
        log_n_sd=float(np.log(high / low) / 2 / ndtri((1 + level) / 2)),
    )


def _span(
    log_n: float, log_sd: float, reach: float, low: float, high: float
) -> tuple[float, float]:
    """Middle and half width in ln N of the sizes of a budget: the reach widened by the uncertainty
    of the minimum, without what lies outside the sizes in range, [low, high]."""
    half = float(np.hypot(reach, WIDENED * log_sd))
    first, last = max(low, log_n - half), min(high, log_n + half)
    if first >= last:  # the minimum is far outside: the sizes nearest to it
        return log_n, half
    return (first + last) / 2, (last - first) / 2


def _seeds_at(
    law: LawResult, flops: float, log_n: Floats, minimum: float, fewest: int, stage: Stage
) -> int:
    """Seeds for sizes at ln N around an expected minimum, with the bowl of the nearest budget."""
    bowls = [
        (abs(np.log(row["flops"] / flops)), row["coefficients"][2])
        for row in law.details["minima"]
        if row["coefficients"] and row["coefficients"][2] > 0
    ]
    noise = Noise.of(law.details["minima"], law.details["noise"])
    if noise is None or not bowls or len(log_n) < MIN_SIZES:
        return fewest
    return seeds_needed(
        log_n, min(bowls)[1] * (log_n - minimum) ** 2, noise, fewest, stage.max_seeds
    )


def _more_seeds(
    blocks: SweepInputs,
    stage: Stage,
    of: tuple[Objective, str, Recipe],
    law: LawResult,
    cells: Mapping[str, Cell],
) -> Iterator[Placed]:
    """Budgets of earlier stages that have a minimum which noise could move out of their sizes."""
    noise = Noise.of(law.details["minima"], law.details["noise"])
    for row in law.details["minima"]:
        if row["status"] != Minimum.UNSTABLE or noise is None:
            continue
        flops = min(blocks.sweep.budgets_flops, key=lambda c: abs(np.log(c / row["flops"])))
        near = {run["n_params"] for run in row["runs"] if run["in_window"]}
        own = [c for c in cells.values() if c.flops_budget == flops and c.n_params in near]
        sizes = {c.size: c.n_params for c in sorted(own, key=lambda c: c.n_params)}
        first = sorted({c.seed for c in own})
        log_n = np.log([*sizes.values()])
        loss = np.polynomial.polynomial.polyval(log_n, row["coefficients"])
        seeds = seeds_needed(log_n, loss, noise, len(first), stage.max_seeds)
        if seeds > len(first):
            objective, corpus, recipe = of
            yield Placed(
                objective=objective,
                corpus=corpus,
                recipe=recipe,
                flops=flops,
                sizes=[*sizes],
                seeds=seeds_from(first, seeds),
                why=f"more seeds: {row['reason']}",
                law=None,
            )
