"""Split the representatives into training and held-out sets by whole clusters.

python scripts/split_clusters.py --pool data/demo/pool/protein --dedup data/demo/dedup \
    --settings '{"min_seq_id": 0.5, "coverage": 0.8, "sensitivity": 5.7, "purge": "single",
    "clustering": "cluster", "valid_fraction": 0.05, "reference_fraction": 0.1}' \
    --reference-source uniref_demo --seed 1 \
    --threads 2 --memory-mb 4000 --mmseqs auto --out data/demo/split
"""

from plm_scaling.common.program import run
from plm_scaling.dedup.split import split_clusters

if __name__ == "__main__":
    run(split_clusters)
