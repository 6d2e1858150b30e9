"""Train the n-gram model that scores sequences, on clusters kept out of training.

python scripts/train_reference.py --pool data/demo/pool/protein --split data/demo/split \
    --order 3 --reference-source uniref_demo --out data/demo/scores/model.npz
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.filter.reference import train_reference

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the pool's parts")
    parser.add_argument(
        "--split", type=Path, required=True, help="folder made by split_clusters.py"
    )
    parser.add_argument("--order", type=int, required=True, help="of the n-gram model; 3 is best")
    parser.add_argument("--reference-source", required=True, help="source of the reference split")
    parser.add_argument("--out", type=Path, required=True, help="the model, .npz")
    program.run(train_reference, parser)
