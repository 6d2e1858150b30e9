"""Gather the records of all trained cells into tables of runs, curves and losses by held-out set.

python scripts/collect_runs.py --sweep results/demo/sweep.tsv --runs results/demo/runs \
    --final-evaluations 1 --out-runs results/demo/runs.csv \
    --out-curves results/demo/curves.parquet --out-evaluations results/demo/evaluations.csv
"""

from plm_scaling.common.program import run
from plm_scaling.runs.collect import collect_runs

if __name__ == "__main__":
    run(collect_runs)
