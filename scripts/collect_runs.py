"""Gather the records of all trained cells into tables of runs, curves and losses by held-out set.

python scripts/collect_runs.py --sweep results/demo/sweep.tsv --runs results/demo/runs \
    --final-evaluations 1 --out-runs results/demo/runs.csv \
    --out-curves results/demo/curves.parquet --out-evaluations results/demo/evaluations.csv
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.runs.collect import collect_runs

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweep", type=Path, required=True, help="sweep.tsv, one row per cell")
    parser.add_argument("--runs", type=Path, required=True, help="folder of {cell}/result.json")
    parser.add_argument(
        "--final-evaluations",
        type=int,
        required=True,
        help="how many of the last validation losses are averaged",
    )
    parser.add_argument("--out-runs", type=Path, required=True, help="the table of runs (CSV)")
    parser.add_argument("--out-curves", type=Path, required=True, help="all curves (Parquet)")
    parser.add_argument(
        "--out-evaluations", type=Path, required=True, help="losses by held-out set (CSV)"
    )
    program.run(collect_runs, parser)
