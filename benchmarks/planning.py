"""What planning a study costs: Snakemake's dry run of many cells, compared with a bare workflow's.

python benchmarks/planning.py --work FOLDER [--seeds 1 17 170] [--modes silent counts all]
    [--stages 3e19 3e20]

Takes config.yaml with so many seeds of every cell: 268, 4,108 and 40,828 cells over 256 parts of
the data. For each a bare Snakefile has as many jobs, of one file, log, benchmark, three resources
and two parameters each. Snakemake plans the two in turn, so that both meet the same load of the
machine, as quietly as --modes says. With --stages the budgets from these FLOPs on are stages that
are still to be placed. Prints a Markdown table: CPU-seconds (user and system, the median of
--rounds), those of a job beyond what a plan of two bare jobs takes, peak resident memory, the same
of the bare workflow, and the ratio of the CPU-seconds: the median of the rounds', and the least and
the largest of them.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SKELETON = """
rule all:
    input:
        [f"cells/{i}/result.json" for i in range(config["jobs"] - 1)],

rule cell:
    output:
        "cells/{cell}/result.json",
    log:
        "logs/{cell}.log",
    benchmark:
        "logs/benchmarks/{cell}.tsv"
    threads: lambda wildcards: 8
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        cell=lambda wildcards: f"cell {wildcards.cell}",
        seed=1,
    shell:
        "train {params.cell} --seed {params.seed} > {output} 2> {log}"
"""
MODES = {
    "silent": ["--quiet"],  # nothing but errors; the jobs are not even counted
    "counts": ["--quiet", "rules"],  # the jobs by rule, and not one by one
    "all": [],
}


@dataclass(frozen=True)
class Cost:
    """What one dry run took."""

    cpu_s: float
    """User and system time."""
    peak_mb: float
    """Largest resident set, in 10⁶ bytes."""


def dry_run(work: Path, *arguments: str | Path) -> Cost:
    """Plan in the folder `work`, in which nothing was ever made; the output goes to out.txt."""
    command = [sys.executable, "-m", "snakemake", "--directory", work, "--cores", "2", "--dry-run"]
    words = [*map(str, [*command, *arguments])]
    with (work / "out.txt").open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"error: {' '.join(words)} failed; see {work / 'out.txt'}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def counted(work: Path, *arguments: str | Path) -> tuple[int, int]:
    """Jobs that a run would do, and the cells among them."""
    dry_run(work, *arguments, *MODES["counts"])
    output = (work / "out.txt").read_text()
    jobs = dict(re.findall(r"^(total|train_cell) +(\d+)$", output, re.MULTILINE))
    return int(jobs["total"]), int(jobs["train_cell"])


def median(rounds: list[Cost]) -> Cost:
    """Of some runs of one plan."""
    return Cost(
        statistics.median(cost.cpu_s for cost in rounds),
        statistics.median(cost.peak_mb for cost in rounds),
    )


def study_with(seeds: int, stages: list[float], work: Path) -> list[str | Path]:
    """Arguments that plan config.yaml with so many seeds of each cell, and these stages."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["sweep"]["seeds"] = list(range(1, seeds + 1))
    config["sweep"]["stages"] = [
        {"from_flops": flops, "sizes": 6, "reach": 1.7, "max_seeds": seeds} for flops in stages
    ]
    path = work / f"seeds-{seeds}.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["--snakefile", ROOT / "Snakefile", "--configfile", path]


def bare(jobs: int, work: Path) -> list[str | Path]:
    """Arguments that plan as many jobs of a workflow that has nothing else."""
    path = work / "Snakefile"
    path.write_text(SKELETON)
    return ["--snakefile", path, "--config", f"jobs={jobs}"]


def print_row(*cells: object) -> None:
    """One row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def compare(seeds: int, stages: list[float], modes: list[str], rounds: int, work: Path) -> None:
    """Print a row per mode for config.yaml with so many seeds."""
    study = study_with(seeds, stages, work)
    jobs, cells = counted(work, *study)
    for mode in modes:
        ours, theirs, start = [], [], []
        for _ in range(rounds):
            ours.append(dry_run(work, *study, *MODES[mode]))
            theirs.append(dry_run(work, *bare(jobs, work), *MODES[mode]))
            start.append(dry_run(work, *bare(2, work), *MODES[mode]))
        cost, skeleton = median(ours), median(theirs)
        ratios = [one.cpu_s / other.cpu_s for one, other in zip(ours, theirs, strict=True)]
        print_row(
            f"{cells:,}",
            f"{jobs:,}",
            " ".join(["`-n", *MODES[mode]]).replace("--quiet", "-q") + "`",
            f"{cost.cpu_s:.1f}",
            f"{1000 * (cost.cpu_s - median(start).cpu_s) / jobs:.1f}",
            f"{cost.peak_mb:.0f}",
            f"{skeleton.cpu_s:.1f}",
            f"{skeleton.peak_mb:.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 17, 170], help="of each cell")
    parser.add_argument("--stages", type=float, nargs="*", default=[], help="their first FLOPs")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each plan")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONPATH", str(ROOT / "src"))
    columns = ("cells", "jobs", "", "CPU-s", "ms per job", "MB", "bare: CPU-s", "MB", "ratio")
    print_row(*columns)
    print_row(*["---"] * len(columns))
    for seeds in asked.seeds:
        compare(seeds, asked.stages, asked.modes, asked.rounds, asked.work)


if __name__ == "__main__":
    main()
