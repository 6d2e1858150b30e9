"""Gather the scores of all models on all benchmarks into scores.csv and groups.csv.

python scripts/collect_downstream.py \
    --records results/demo/downstream/CELL/fitness_small.json \
    --exposures data/downstream/fitness_small/exposure.demo.parquet \
    --runs results/demo/runs --final-evaluations 5 --laws results/demo/laws \
    --out results/demo/downstream/scores.csv --out-groups results/demo/downstream/groups.csv
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.collect import collect_downstream

if __name__ == "__main__":
    run(collect_downstream)
