"""What the order of cells costs: the full study on so many GPUs, simulated.

python benchmarks/order.py

Takes config.yaml; cells take at most --most GPUs each, and no more than there are. Hours are those
that the bill estimates; GPUs are put to use as `sweep/schedule.py` says, and cells take no time to
start. Beside the two orders of `machine.order`: `any`, as jobs come out of a set, as Snakemake
has them without priorities (the mean of --draws); and `in turn`, one cell at a time. Prints a
Markdown table: hours until all cells are done, and until those from scratch of the first and the
last budget are; the bound is that of no GPU idle, or of the longest chain of cells.
"""

import argparse
import random
from pathlib import Path
from statistics import mean

import yaml

from plm_scaling.config.load import validate_config
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import choose_layouts
from plm_scaling.sweep.order import curves, jobs_in_order
from plm_scaling.sweep.schedule import Job, simulate

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Simulate each order on each number of GPUs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 128, 512])
    parser.add_argument("--most", type=int, default=128)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    config = validate_config(yaml.safe_load((ROOT / "config.yaml").read_text()), "config.yaml")
    cells = plan_cells(config)
    budgets = list(curves(cells).values())
    print("| GPUs | bound | order | all | first budget | last budget |\n|---|---|---|---|---|---|")
    for gpus in options.gpus:
        most = min(gpus, options.most)
        machine = config.machine.model_copy(update={"max_gpus": most})
        layouts = choose_layouts(cells.values(), machine)
        by_order = {
            order: jobs_in_order(cells, layouts, machine.model_copy(update={"order": order}))
            for order in ("makespan", "first-law")
        }
        jobs = by_order["makespan"]
        drawn = [shuffled(jobs, seed) for seed in range(options.draws)]
        in_turn = {name: Job(gpus, job.hours, job.after) for name, job in jobs.items()}
        runs = {order: [ordered] for order, ordered in by_order.items()} | {"any": drawn}
        if gpus <= machine.gpus_per_node:
            runs["in turn"] = [shuffled(in_turn, seed) for seed in range(options.draws)]
        idle = sum(job.gpus * job.hours for job in jobs.values()) / gpus
        chain = max(end for _, end in simulate(jobs, 10**5, machine.gpus_per_node).values())
        for order, each in runs.items():
            ends = []
            for ordered in each:
                times = simulate(ordered, gpus, machine.gpus_per_node)
                named = (times, budgets[0], budgets[-1])
                ends.append([max(times[name][1] for name in names) for names in named])
            shown = " | ".join(f"{mean(hours):,.0f}" for hours in zip(*ends, strict=True))
            print(f"| {gpus} | {max(idle, chain):,.0f} | {order} | {shown} |")


def shuffled(jobs: dict[str, Job], seed: int) -> dict[str, Job]:
    """The jobs in any order."""
    names = random.Random(seed).sample([*jobs], len(jobs))
    return {name: jobs[name] for name in names}


if __name__ == "__main__":
    main()
