"""Memory of training jobs on the CPU, estimated and measured: a table for docs/benchmarks.md.

nice -n 10 python benchmarks/memory.py --work FOLDER > memory.md

Each row is a real job of a few steps (scripts/train_cell.py in a process of its own, two steps, an
evaluation and a checkpoint) on random proteins. Measured is the largest resident set of any of its
processes (benchmarks/measure.py).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))
from cell_fixtures import cell_of
from corpora import write_corpus

from plm_scaling.config.load import read_config
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import STUDY_GRID, Shape
from plm_scaling.sweep.launch import launcher
from plm_scaling.sweep.memory import process_memory

ROOT = Path(__file__).resolve().parents[1]
# Shape, recipe, objective, context, rows, and the layout's tensor, data and micro_batch_rows.
POINTS = [
    (Shape(4, 128, 341, 2), "study", "clm", 256, 64, (1, 1, 64)),
    (Shape(4, 128, 341, 2), "prenorm", "mlm", 1024, 16, (1, 1, 16)),
    (STUDY_GRID["3.5M"], "study", "mlm", 1024, 32, (1, 1, 8)),
    (STUDY_GRID["10M"], "prenorm", "clm", 1024, 16, (1, 1, 4)),
    (STUDY_GRID["10M"], "study", "clm", 1024, 16, (1, 2, 4)),
    (STUDY_GRID["13M"], "study", "mlm", 256, 16, (5, 1, 16)),
    (STUDY_GRID["34M"], "study", "mlm", 256, 8, (1, 1, 2)),
    (STUDY_GRID["40M"], "prenorm", "clm", 256, 4, (1, 1, 4)),
]


def measured_bytes(cell: Cell, layout: Layout, manifest: Path, work: Path) -> float:
    """Largest resident set of a process of the job."""
    out = work / cell.cell / f"{layout.processes}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    start = launcher(layout, read_config(ROOT / "config.yaml").machine, lock="").split()
    command = [
        *(sys.executable, "-S", ROOT / "benchmarks/measure.py", out, work / "none"),
        *start,
        *(ROOT / "scripts/train_cell.py", "--cell", cell.to_json(), "--layout", layout.to_json()),
        *("--manifest", manifest, "--threads", 1, "--checkpoint-seconds", 1e9),
        *("--out", out.with_name("run") / str(layout.processes) / "result.json"),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    subprocess.run([*map(str, command)], check=True, env=env, stderr=subprocess.DEVNULL)
    return json.loads(out.read_text())["rss_mb"] * 1e6


def main(work: Path) -> None:
    """Print the table."""
    work.mkdir(parents=True, exist_ok=True)
    manifests = {
        context: write_corpus(work / f"corpus-{context}", context, n=40 * context)
        for context in {point[3] for point in POINTS}
    }
    print(
        "| parameters | layers × width | recipe | context | rows | TP·DP, rows of a pass |", end=""
    )
    print(" weights, gradients, AdamW | of a pass | the rest | estimate | measured | ratio |")
    print("|" + "---|" * 12)
    for shape, recipe, objective, context, rows, (tensor, data, micro) in POINTS:
        tokens = 2 * rows * context
        cell = cell_of(
            objective,
            shape,
            recipe,
            steps=2,
            tokens=tokens,
            warmup_steps=1,
            evaluations=1,
            batch_rows=rows,
            context_length=context,
            valid_rows=64,
            init_std=0.02,
        )
        layout = Layout("cpu", tensor, 1, data, micro, "none")
        estimate = process_memory(cell, layout)
        found = measured_bytes(cell, layout, manifests[context], work)
        state = estimate.weights + estimate.gradients + estimate.optimizer
        passing = estimate.activations + estimate.working + estimate.fragmented
        parts = [state, passing, estimate.data + estimate.libraries]
        numbers = [f"{value / 1e6:.0f} MB" for value in [*parts, estimate.total, found]]
        texts = [
            *(f"{cell.n_params_total / 1e6:.1f}M", f"{shape.layers} × {shape.hidden}"),
            *(f"{recipe}, {objective}", str(context), str(rows), f"{tensor}·{data}, {micro}"),
            *(*numbers, f"{estimate.total / found:.2f}"),
        ]
        print("| " + " | ".join(texts) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for corpora and runs")
    main(parser.parse_args().work)
