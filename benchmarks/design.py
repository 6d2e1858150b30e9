"""Designed sweeps against the whole grid and against random choice, where the truth is known, and
replayed on the runs that the study released.

OMP_NUM_THREADS=1 python benchmarks/design.py [--replicas 200]

Surfaces: text-like (Hoffmann et al. 2022) and the two of the study's laws. In each replica the
truth is another one that the designer's prior leaves possible. The grid is that of config.yaml for
one objective; the designed sweep is the narrowest for at most a third of its FLOPs; the random ones
take cells of the grid, in any order, until they have spent as much. Each is fitted by the project's
own code. Prints Markdown: what was spent, medians of the half-width of the 95 % interval of a and
of the error of a, and how often the interval held the truth, with its standard error.

Replay: of the released runs only those chosen are looked at. The three smallest budgets get eight
sizes each, spread over those that exist; from there the law of what was looked at places five
around the minimum of the next. Random choice looks at as much compute, in the median of 20 draws.
Errors are against the law of all runs.

Ready studies: config.yaml and config/full-designed.yaml, on as many truths.
"""

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.config.sweep import Objective
from plm_scaling.design.choose import front, narrowest
from plm_scaling.design.family import Ladder
from plm_scaling.design.place import sizes_around
from plm_scaling.design.prior import Prior, find_prior
from plm_scaling.design.request import Asked
from plm_scaling.design.simulate import Expected, Point, answer, expect, points_of, together
from plm_scaling.laws.isoflop.minima import find_minima
from plm_scaling.laws.isoflop.parabola import WINDOW
from plm_scaling.laws.selection import why_left_out
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.planner.surface import parametric_surface
from plm_scaling.runs.own_tables import read_table
from plm_scaling.sweep.cells import plan_cells

ASKED = Asked("exponent")
SHARE = 1 / 3
UNSEEN = 1000  # replicas are truths that the designer was not chosen on
HOFFMANN = parametric_surface(1.69, 406.4, 410.7, 0.34, 0.28)
TEXT = Prior(
    name="Hoffmann et al. 2022", surface=HOFFMANN, pivot=math.log(3e19), log_n_sd=0.2,
    exponent_sd=0.05, curvature_sd=0.1, noise=0.005, scatter=0.0, fitted=(1e18, 1e21),
)  # fmt: skip
RUNS = PUBLISHED_LAWS.parent / "tables/runs.csv"
DESIGNED_STUDY = Path(__file__).parents[1] / "config/full-designed.yaml"
FIRST, FIRST_SIZES, SIZES, REACH = 3, 8, 5, 1.85


def print_row(*cells: object) -> None:
    """One row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def show(name: str, way: str, flops: float, whole: float, cells: float, said: Expected) -> None:
    """One row of the table of surfaces."""
    shares = [f"{flops / whole:.0%}", f"{cells:.0f}", f"{said.half_width:.3f}"]
    print_row(name, way, *shares, f"{said.error:.3f}", held(said), f"{said.answered:.2f}")


def held(said: Expected) -> str:
    """How often the intervals found held the truth, with the standard error; where all or none did,
    that of one more of each."""
    found = round(said.answered * len(said.value))
    p = (said.coverage * found + 1) / (found + 2)
    return f"{said.coverage:.2f} ± {math.sqrt(p * (1 - p) / found):.2f}"


def within(costs: Iterable[float], most: float) -> Iterator[bool]:
    """Whether each is still to be had, one after the other, when no more than `most` is spent."""
    spent = 0.0
    for cost in costs:
        taken = spent + cost <= most
        spent += cost * taken
        yield taken


def random_choice(points: Sequence[Point], flops: float, rng: np.random.Generator) -> list[Point]:
    """Points in random order while there is compute for them."""
    order = [points[i] for i in rng.permutation(len(points))]
    return [*compress(order, within((6.0 * p.n_params * p.tokens for p in order), flops))]


def on_surface(name: str, prior: Prior, objective: Objective, replicas: int) -> None:
    """Rows of the grid, the design and random choice."""
    config = read_config(FULL_STUDY)
    only = {"objectives": [objective], "extra": [], "transfer": [], "stages": [], "tuning": None}
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update=only)})
    grid = points_of(plan_cells(config).values())
    whole = sum(6.0 * p.n_params * p.tokens for p in grid)
    ladder = Ladder(config, config.machine)
    rows = front(ladder.family(prior, objective), ASKED, prior, lambda cost: cost.flops)
    design = narrowest(rows, SHARE * whole, lambda cost: cost.flops, "FLOPs").design
    unseen = range(UNSEEN, UNSEEN + replicas)
    show(name, "grid", whole, whole, len(grid), expect(ASKED, grid, prior, unseen))
    said = expect(ASKED, design.points, prior, unseen)
    show(name, "designed", design.cost.flops, whole, design.n_cells, said)
    drawn = [random_choice(grid, design.cost.flops, np.random.default_rng(i)) for i in unseen]
    each = [expect(ASKED, points, prior, [i]) for i, points in zip(unseen, drawn, strict=True)]
    cells = float(np.median([len(points) for points in drawn]))
    show(name, "random", design.cost.flops, whole, cells, together(each))


def released(objective: str) -> pd.DataFrame:
    """Usable runs of budgets with several sizes; `at` is the budget."""
    table = read_table(RUNS)
    table = table[table["objective"] == objective]
    table = table[(why_left_out("isoflop", table) == "").to_numpy()].reset_index(drop=True)
    table["at"] = np.nan
    for budget, members in group_budgets(table["flops"].to_numpy(float)):
        if table.loc[members, "size"].nunique() >= SIZES:
            table.loc[members, "at"] = budget
    return table.dropna(subset="at")


def law_of(runs: pd.DataFrame) -> tuple[float, float, float]:
    """a and its interval."""
    columns = ("n_params", "tokens", "loss", "at")
    return answer(ASKED, *(runs[name].to_numpy(float) for name in columns))


def designed_replay(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that the designer looks at, budget by budget."""
    seen = runs.iloc[:0]
    for i, budget in enumerate(sorted(runs["at"].unique())):
        there = runs[runs["at"] == budget]
        known = {
            str(size): int(n) for size, n in zip(there["size"], there["n_params"], strict=True)
        }
        ends = np.log([min(known.values()), max(known.values())])
        expected, count, reach = (float(ends.mean()), 0.0), FIRST_SIZES, float(np.ptp(ends)) / 2
        if i >= FIRST:
            columns = ("n_params", "tokens", "flops", "loss", "at")
            n, d, flops, loss, at = (seen[name].to_numpy(float) for name in columns)
            minima = find_minima(n, d, flops, loss, None, at, WINDOW, 400, 1)[2]
            if law := minima.laws():
                drawn = np.log(minima.resampled_laws()["N"](budget))
                expected = float(np.log(law["N"](budget))), min(1.0, float(drawn.std()))
                count, reach = SIZES, REACH
        chosen = sizes_around(*expected, known, count, reach)
        seen = pd.concat([seen, there[there["size"].isin(chosen)]])
    return seen


def replay(objective: str) -> None:
    """Rows of all released runs, of those that the designer looks at, and of random ones."""
    runs = released(objective)
    whole, everything = runs["flops"].sum(), law_of(runs)

    def row(way: str, chosen: float, n: float, law: tuple[float, float, float]) -> None:
        a, low, high = law
        print_row(
            objective, way, f"{chosen / whole:.0%}", f"{n:.0f}", f"{a:.3f}",
            f"{low:.3f} to {high:.3f}", f"{abs(a - everything[0]):.3f}",
        )  # fmt: skip

    row("all", whole, len(runs), everything)
    seen = designed_replay(runs)
    spent = seen["flops"].sum()
    row("designed", spent, len(seen), law_of(seen))
    laws, sizes = [], []
    for i in range(20):
        order = runs.sample(frac=1, random_state=i)
        drawn = order[[*within(order["flops"], spent)]]
        laws.append(law_of(drawn))
        sizes.append(len(drawn))
    known = np.array(laws)[~np.isnan([law[0] for law in laws])]
    off = np.abs(known[:, 0] - everything[0])
    middle = known[np.argsort(off)[len(off) // 2]]
    way = f"random, {len(known)} of 20 with a law"
    row(way, spent, float(np.median(sizes)), (middle[0], middle[1], middle[2]))


def ready(path: Path, replicas: int) -> None:
    """A row for each objective of a config that ships."""
    config = read_config(path)
    grid: dict[str, object] = {"extra": [], "transfer": [], "stages": [], "tuning": None}
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update=grid)})
    cells = plan_cells(config).values()
    for objective in config.sweep.objectives:
        points = points_of(cell for cell in cells if cell.objective == objective)
        unseen = range(UNSEEN, UNSEEN + replicas)
        said = expect(ASKED, points, find_prior(PUBLISHED_LAWS, objective), unseen)
        cost = sum(6.0 * p.n_params * p.tokens for p in points)
        shown = (f"{cost:.2g}", len(points), f"{said.half_width:.3f}", held(said))
        print_row(path.name, objective, *shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=200, help="truths of each surface")
    replicas = parser.parse_args().replicas
    columns = ("surface", "sweep", "FLOPs", "cells", "half-width of a", "error of a", "coverage")
    print_row(*columns, "with a law")
    print_row(*["---"] * (len(columns) + 1))
    on_surface("text", TEXT, "clm", replicas)
    on_surface("protein, CLM", find_prior(PUBLISHED_LAWS, "clm"), "clm", replicas)
    on_surface("protein, MLM", find_prior(PUBLISHED_LAWS, "mlm"), "mlm", replicas)
    print()
    print_row(
        "released runs", "choice", "FLOPs", "runs", "a", "95 % interval", "off the law of all"
    )
    print_row(*["---"] * 7)
    for objective in ("clm", "mlm"):
        replay(objective)
    print()
    print_row("config", "objective", "FLOPs", "cells", "half-width of a", "coverage")
    print_row(*["---"] * 6)
    for path in (FULL_STUDY, DESIGNED_STUDY):
        ready(path, replicas)


if __name__ == "__main__":
    main()
