"""Train the n-gram model that scores sequences, on clusters kept out of training.

python scripts/train_reference.py --pool data/demo/pool/protein --split data/demo/split \
    --order 3 --reference-source uniref_demo --out data/demo/scores/model.npz
"""

from plm_scaling.common.program import run
from plm_scaling.filter.reference import train_reference

if __name__ == "__main__":
    run(train_reference)
