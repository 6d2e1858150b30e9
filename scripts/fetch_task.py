"""Fetch one raw file of a benchmark; verify its length and checksum.

python scripts/fetch_task.py --table resources/downstream.tsv --dataset gb1_low_vs_high \
    --file flip_gb1_splits.zip --out data/raw/downstream/flip_gb1_splits.zip
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.prepare import fetch_task

if __name__ == "__main__":
    run(fetch_task)
