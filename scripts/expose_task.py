"""Search the training sequences for homologues of a benchmark's test proteins.

python scripts/expose_task.py --data data/downstream/fitness_small --pool data/demo/pool/protein \
    --split data/demo/split --settings '{"min_seq_id": 0.5, "coverage": 0.8,
    "check_sensitivity": 7.5, "max_leaked_fraction": 0.02}' --threads 2 --memory-mb 4000 \
    --mmseqs auto --out data/downstream/fitness_small/exposure.demo.parquet
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.similarity.expose import expose_task

if __name__ == "__main__":
    run(expose_task)
