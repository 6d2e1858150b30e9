"""Apply length, unknown-residue, low-complexity and perplexity rules to the score tables.

python scripts/select_sequences.py --pool data/demo/pool/protein --split data/demo/split \
    --scores data/demo/scores --min-length 30 --max-length 10000 --max-unknown-fraction 0.05 \
    --min-distinct-3mer-ratio 0.65 --length-bins 0 100 200 400 800 \
    --perplexity-quantiles 0.01 0.99 --mmseqs auto --out data/demo/filter
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.filter.select import select_sequences

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the pool's parts")
    parser.add_argument(
        "--split", type=Path, required=True, help="folder made by split_clusters.py"
    )
    parser.add_argument("--scores", type=Path, required=True, help="folder of the score tables")
    parser.add_argument("--min-length", type=int, required=True, help="residues")
    parser.add_argument("--max-length", type=int, required=True, help="residues")
    parser.add_argument("--max-unknown-fraction", type=float, required=True, help="of X B Z J")
    parser.add_argument("--min-distinct-3mer-ratio", type=float, required=True, help="0 to 1")
    parser.add_argument(
        "--length-bins", type=int, nargs="+", required=True, metavar="EDGE",
        help="lower edges of the bins of length, in residues, from 0",
    )  # fmt: skip
    parser.add_argument(
        "--perplexity-quantiles", type=float, nargs=2, required=True, metavar=("LOW", "HIGH")
    )
    parser.add_argument("--mmseqs", required=True, help="path of MMseqs2, or auto")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(select_sequences, parser)
