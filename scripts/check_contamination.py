"""Measure what held-out sequences share with training; exit 1 if training covers too many.

python scripts/check_contamination.py --split data/demo/split --pool data/demo/pool/protein \
    --settings '{"min_seq_id": 0.5, "coverage": 0.8, "check_sensitivity": 7.5,
    "max_leaked_fraction": 0.02}' \
    --threads 2 --memory-mb 4000 --mmseqs auto --out data/demo/contamination.json
"""

from plm_scaling.common.program import run
from plm_scaling.dedup.contamination import check_contamination

if __name__ == "__main__":
    run(check_contamination)
