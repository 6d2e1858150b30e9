"""Cluster the pool of all sources and choose one representative per cluster.

python scripts/deduplicate.py --pool data/demo/pool/protein \
    --settings '{"min_seq_id": 0.9, "coverage": 0.8}' --threads 2 --memory-mb 4000 \
    --mmseqs auto --out data/demo/dedup
"""

from plm_scaling.common.program import run
from plm_scaling.dedup.deduplicate import deduplicate

if __name__ == "__main__":
    run(deduplicate)
