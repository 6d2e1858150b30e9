"""Gather the records of all trained cells into one table of runs and one of loss curves.

python scripts/collect_runs.py --sweep results/demo/sweep.tsv --runs results/demo/runs \
    --final-evaluations 1 --out-runs results/demo/runs.csv --out-curves results/demo/curves.parquet
"""

import argparse
from pathlib import Path

from plm_scaling import program
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
    program.run(collect_runs, parser)
