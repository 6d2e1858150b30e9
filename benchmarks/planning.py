"""What planning a study costs: Snakemake's dry run of many cells, beside a bare workflow's.

python benchmarks/planning.py --work FOLDER [--seeds 1 17 170] [--rounds 3] [--variants]

Takes config.yaml with so many seeds of every cell: 268, 4,108 and 40,828 cells over 256 parts of
the data. For each a bare Snakefile has as many jobs, of one file, log, benchmark, three resources
and two parameters each. `snakemake --dry-run --quiet` plans the two in turn, so that both meet the
same load of the machine. Prints a Markdown table: CPU-seconds (user and system, the least of the
rounds), peak resident memory, milliseconds per job beyond those of a plan of one job, and the ratio
of the CPU-seconds. --variants asks for less or more of the first study of --seeds, in a table of
its own.
"""

import argparse
import os
import re
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
VARIANTS = {
    "`-n -q`": ["--quiet"],
    "`-n -q data`": ["data", "--quiet"],
    "`-n -q --batch collect_runs=1/10`": ["--batch", "collect_runs=1/10", "--quiet"],
    "`-n -q --rerun-triggers mtime`": ["--rerun-triggers", "mtime", "--quiet"],
    "`-n -q --persistence-backend db`": ["--persistence-backend", "db", "--quiet"],
    "`-n` (every job in words)": [],
}


@dataclass(frozen=True)
class Cost:
    """What one dry run took."""

    cpu_s: float
    """User and system time."""
    peak_mb: float
    """Largest resident set, in 10⁶ bytes."""
    jobs: int
    """Jobs that the run would do."""
    cells: int
    """Cells that it would train."""


def dry_run(work: Path, *arguments: str | Path) -> Cost:
    """Plan in the folder `work`, in which nothing was ever made."""
    command = [sys.executable, "-m", "snakemake", "--directory", work, "--cores", "2", "--dry-run"]
    out = work / "out.txt"
    with out.open("w") as file:
        process = subprocess.Popen(
            [*map(str, [*command, *arguments])], stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"error: {' '.join(process.args)} failed; see {out}")
    stats = dict(re.findall(r"^(total|train_cell) +(\d+)$", out.read_text(), re.MULTILINE))
    return Cost(
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        jobs=int(stats["total"]),
        cells=int(stats.get("train_cell", 0)),
    )


def least(rounds: list[Cost]) -> Cost:
    """The cheapest of some runs of one plan."""
    return min(rounds, key=lambda cost: cost.cpu_s)


def study_with(seeds: int, work: Path) -> list[str | Path]:
    """Arguments that plan config.yaml with so many seeds of each cell."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["sweep"]["seeds"] = list(range(1, seeds + 1))
    path = work / f"seeds-{seeds}.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["--snakefile", ROOT / "Snakefile", "--configfile", path]


def bare(jobs: int, work: Path) -> list[str | Path]:
    """Arguments that plan as many jobs of a workflow that has nothing else."""
    path = work / "Snakefile"
    path.write_text(SKELETON)
    return ["--snakefile", path, "--config", f"jobs={jobs}"]


def print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def compare(seeds: list[int], rounds: int, work: Path) -> None:
    """Print the table of studies beside bare workflows."""
    print_row("cells", "jobs", "CPU-s", "ms per job", "peak MB", "bare: CPU-s", "MB", "ratio")
    print_row(*["---"] * 8)
    start = least([dry_run(work, *bare(1, work), "--quiet") for _ in range(rounds)]).cpu_s
    for number in seeds:
        study = study_with(number, work)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(dry_run(work, *study, "--quiet"))
            theirs.append(dry_run(work, *bare(ours[0].jobs, work), "--quiet"))
        cost, skeleton = least(ours), least(theirs)
        print_row(
            f"{cost.cells:,}",
            f"{cost.jobs:,}",
            f"{cost.cpu_s:.1f}",
            f"{1000 * (cost.cpu_s - start) / cost.jobs:.2f}",
            f"{cost.peak_mb:.0f}",
            f"{skeleton.cpu_s:.1f}",
            f"{skeleton.peak_mb:.0f}",
            f"{cost.cpu_s / skeleton.cpu_s:.2f}",
        )


def compare_variants(seeds: int, rounds: int, work: Path) -> None:
    """Print the table of what else can be asked of one study."""
    print_row("", "jobs", "CPU-s", "peak MB")
    print_row(*["---"] * 4)
    study = study_with(seeds, work)
    costs: dict[str, list[Cost]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, arguments in VARIANTS.items():
            costs[name].append(dry_run(work, *study, *arguments))
    for name, found in costs.items():
        cost = least(found)
        print_row(name, f"{cost.jobs:,}", f"{cost.cpu_s:.1f}", f"{cost.peak_mb:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 17, 170], help="of each cell")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each plan")
    parser.add_argument("--variants", action="store_true", help="the second table instead")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONPATH", str(ROOT / "src"))
    if asked.variants:
        compare_variants(asked.seeds[0], asked.rounds, asked.work)
    else:
        compare(asked.seeds, asked.rounds, asked.work)


if __name__ == "__main__":
    main()
