"""Run the data path on planted sets of several sizes; say what each step takes and how it grows.

nice -n 10 python benchmarks/scale.py --sequences 20000 200000 2000000 --work WORK \
    [--steps clean pool dedup …] [--threads 2] [--memory-mb 4000] > scale.md

Each step runs the programs in scripts/ with the arguments the workflow gives them, one process
after the other; benchmarks/measure.py measures each. The tables give CPU-seconds (all parts
together), peak memory (of one part) and disk for each size, the exponents between sizes, what they
come to for 939 million sequences of 194 billion residues, and what was found of the planted
clusters. Finished steps lie in WORK/measured and are not run again.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scale_steps import SEED, SOURCES, STEPS, Command, Run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))
from planted import LOW, pair_scores, record_labels, truth_of, write_planted

from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool
from plm_scaling.sources.table import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
MEASURE = Path(__file__).with_name("measure.py")
FULL_SEQUENCES, FULL_RESIDUES = 939e6, 194e9


# Runs MMseqs2 and notes the CPU time of its processes, so that it can be told from ours.
MMSEQS = """#!/bin/sh
"{binary}" "$@"
code=$?
times >> "{times}"
exit $code
"""


def prepare(run: Run) -> None:
    """The planted sources, one FASTA file each, a source table that names them, and MMseqs2."""
    (run.work / "scratch").mkdir(parents=True, exist_ok=True)
    mmseqs = run.work / "mmseqs"
    mmseqs.write_text(MMSEQS.format(binary=find_mmseqs("auto").path, times=run.work / "times"))
    mmseqs.chmod(0o755)
    if not (run.work / "sources.tsv").exists():
        write_planted(run.work / "raw", run.n, seed=SEED, sources=SOURCES)
        rows = [
            {"name": name, "release": "planted", "kind": "protein", "format": "fasta"}
            | {"licence": "none", "citation": "planted", "role": "planted", "checked": "2026-01-01"}
            | {"file": f"{name}.fasta", "url": "https://example.org/planted"}
            for name in SOURCES
        ]
        lines = ["\t".join(row.get(column, "") for column in COLUMNS) for row in rows]
        (run.work / "sources.tsv").write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n")


def measure(run: Run, step: str) -> dict[str, float]:
    """What a step took: CPU and wall time of its processes together, memory and disk of one."""
    result = run.work / "measured" / f"{step}.json"
    if not result.exists():
        result.parent.mkdir(exist_ok=True)
        commands, folder = STEPS[step]
        (run.work / "times").write_text("")
        taken = [run_one(run, step, command) for command in commands(run)]
        whole = {key: sum(one[key] for one in taken) for key in ("cpu_s", "wall_s")}
        # Such as "1m2.500000s 0m0.250000s": user and system time.
        times = re.findall(r"(\d+)m([\d.]+)s", (run.work / "times").read_text())
        whole["mmseqs_s"] = sum(60 * int(minutes) + float(seconds) for minutes, seconds in times)
        whole |= {key: max(one[key] for one in taken) for key in ("rss_mb", "anonymous_mb")}
        whole["temporary_mb"] = max(one["temporary_mb"] for one in taken)
        files = [path for path in (run.data / folder).rglob("*") if path.is_file()]
        own = [path for path in files if folder != "." or path.parent == run.data]
        whole["disk_mb"] = sum(path.stat().st_size for path in own if not path.is_symlink()) / 1e6
        whole["processes"] = len(taken)
        result.write_text(json.dumps(whole, indent=2))
    return json.loads(result.read_text())


def run_one(run: Run, step: str, command: Command) -> dict[str, float]:
    program, *arguments = map(str, command)
    out, log = run.work / "measured" / "one.json", run.work / "measured" / f"{step}.log"
    whole = [sys.executable, "-S", MEASURE, out, run.work / "scratch"]
    whole += [sys.executable, ROOT / "scripts" / program, *arguments]
    with log.open("ab") as file:
        done = subprocess.run(list(map(str, whole)), stdout=file, stderr=file)
    if done.returncode:
        tail = "\n".join(log.read_text().splitlines()[-5:])
        sys.exit(f"{step} failed on {run.n:,} sequences; see {log}:\n{tail}")
    return json.loads(out.read_text())


def size(run: Run) -> tuple[int, int]:
    """Sequences and residues of the raw files."""
    sequences = residues = 0
    for source in SOURCES:
        with (run.work / "raw" / f"{source}.fasta").open("rb") as file:
            for line in file:
                if line.startswith(b">"):
                    sequences += 1
                else:
                    residues += len(line) - 1
    return sequences, residues


def found_clusters(run: Run) -> list[tuple[str, str, int, float, float]]:
    """Step, level, clusters, precision and recall of dedup and split against the truth.

    All records count but those of low complexity; an exact copy has the cluster of its sequence.
    """
    opened = Pool.open(run.pool)
    found = []
    for step, column, level in (
        ("dedup", "representative", "subfamily"),
        ("split", "cluster", "family"),
    ):
        if (run.data / step / "counts.tsv").exists():
            ids, labels = record_labels(opened, run.data / step, column)
            truth = truth_of(ids)
            scored = truth.kind != LOW
            scores = pair_scores(truth.clusters(level)[scored], labels[scored])
            found.append((step, level, len(np.unique(labels)), *scores))
    return found


def exponent(values: list[float], sizes: list[float]) -> float:
    """Slope of log value against log size over the last two sizes; NaN with fewer."""
    if len(values) < 2 or min(values[-2:]) <= 0:
        return math.nan
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def marginal(values: list[float], sizes: list[float]) -> float:
    """What one unit of size adds, between the last two sizes; with one size, the mean."""
    before = (values[-2], sizes[-2]) if len(values) > 1 else (0.0, 0.0)
    return (values[-1] - before[0]) / (sizes[-1] - before[1])


def table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(runs: list[Run], steps: list[str]) -> Iterator[str]:
    sizes = [size(run) for run in runs]
    residues = [float(r) for _, r in sizes]
    sequences = [float(n) for n, _ in sizes]
    taken = {step: [measure(run, step) for run in runs] for step in steps}
    heads = [f"{n:,}" for n, _ in sizes]
    yield "Sequences: " + "; ".join(f"{n:,} ({r / 1e6:,.0f} M residues)" for n, r in sizes)
    for title, key in (
        ("CPU-seconds", "cpu_s"),
        ("of them in MMseqs2", "mmseqs_s"),
        ("Peak RSS of one process, MB", "rss_mb"),
        ("Peak anonymous memory, MB", "anonymous_mb"),
        ("Disk of the results, MB", "disk_mb"),
        ("Peak of temporary files, MB", "temporary_mb"),
    ):
        yield f"\n### {title}\n"
        rows = []
        for step in steps:
            values = [one[key] for one in taken[step]]
            slope = exponent(values, residues if key == "cpu_s" else sequences)
            rows.append([step, *map(number, values), number(slope)])
        yield from table(["step", *heads, "exponent"], rows)
    whole, inside = (
        [sum(taken[step][i][key] for step in steps) for i in range(len(runs))]
        for key in ("cpu_s", "mmseqs_s")
    )
    shown = [f"{a / b:.3f}" if b else "–" for a, b in zip(whole, inside, strict=True)]
    yield f"\nCPU time of all steps over that of their MMseqs2 commands: {', '.join(shown)}"
    yield "\n### 939 million sequences, 194 billion residues (extrapolated)\n"
    yield "Start-up is taken off; where CPU time grew faster than the residues, so it does here."
    yield "The searches of split and contamination need a model of their own: docs/scale.md.\n"
    rows = []
    for step in steps:
        cpu = [one["cpu_s"] for one in taken[step]]
        results = [one["disk_mb"] for one in taken[step]]
        scratch = [one["temporary_mb"] for one in taken[step]]
        excess = max(0.0, exponent(cpu, residues) - 1) if len(cpu) > 1 else 0.0
        growth = (FULL_RESIDUES / residues[-1]) ** excess
        rows.append(
            [
                step,
                number(marginal(cpu, residues) * FULL_RESIDUES * growth / 3600),
                number(marginal(results, residues) * FULL_RESIDUES / 1e6),
                number(marginal(scratch, sequences) * FULL_SEQUENCES / 1e6),
            ]
        )
    yield from table(["step", "CPU-hours", "results, TB", "scratch, TB"], rows)
    yield "\n### Planted clusters found\n"
    rows = [
        [f"{n:,}", step, level, f"{clusters:,}", f"{precision:.5f}", f"{recall:.4f}"]
        for run, (n, _) in zip(runs, sizes, strict=True)
        for step, level, clusters, precision, recall in found_clusters(run)
    ]
    yield from table(["sequences", "step", "truth", "clusters", "precision", "recall"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--work", type=Path, required=True, help="folder for sets and results")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-mb", type=int, default=4000, help="of the MMseqs2 steps")
    given = parser.parse_args()
    runs = [
        Run(given.work.resolve() / str(n), n, given.threads, given.memory_mb)
        for n in given.sequences
    ]
    for run in runs:
        prepare(run)
        for step in given.steps:
            taken = measure(run, step)
            print(f"{run.n:,} {step}: {taken['cpu_s']:.1f} CPU-s", file=sys.stderr, flush=True)
    for line in report(runs, given.steps):
        print(line)


if __name__ == "__main__":
    main()
