"""Make a benchmark's files into items that models are evaluated on.

python scripts/prepare_task.py --table resources/downstream.tsv --dataset fitness_small \
    --raw data/raw/downstream --out data/downstream/fitness_small
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.prepare import prepare_task

if __name__ == "__main__":
    run(prepare_task)
