"""Evaluate a model on a prepared benchmark: predictions, and the scores beside them.

python scripts/evaluate_model.py --model results/demo/runs/CELL \
    --data data/downstream/fitness_small --settings '{"contacts": {…}, "probe": {…}}' --seed 1 \
    --threads 1 --out results/demo/downstream/CELL/fitness_small.parquet
"""

from plm_scaling.common.program import run
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from plm_scaling.downstream.evaluate import evaluate_model  # noqa: E402

if __name__ == "__main__":
    run(evaluate_model)
