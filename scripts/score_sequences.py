"""Train the reference n-gram model and score every training and validation sequence.

python scripts/score_sequences.py --split data/demo/split --reference-source uniref_demo --order 3 \
    --out-model data/demo/scores/model.npz --out data/demo/scores/scores.parquet
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.filter.score import score_sequences

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--split", type=Path, required=True, help="folder made by split_clusters.py"
    )
    parser.add_argument("--reference-source", required=True, help="source of the reference split")
    parser.add_argument("--order", type=int, required=True, help="of the n-gram model; 3 is best")
    parser.add_argument("--out-model", type=Path, required=True, help="the model, .npz")
    parser.add_argument("--out", type=Path, required=True, help="the score table, .parquet")
    program.run(score_sequences, parser)
