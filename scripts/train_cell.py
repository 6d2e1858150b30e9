"""Train one cell of the sweep, or go on with it from its last checkpoint.

python scripts/train_cell.py --cell '{"objective": "clm", …}' --manifest
data/demo/tokens/manifest.json --threads 1 --checkpoint-seconds 60 --out
results/demo/runs/CELL/result.json
"""

import argparse
import warnings
from pathlib import Path

from plm_scaling.program import run

warnings.filterwarnings("ignore", module="megatron")  # says at import that it found no CUDA library
from plm_scaling.train.cell import train_cell  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", required=True, help="the cell's fields as JSON (see sweep.tsv)")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of the tokens")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--checkpoint-seconds", type=float, required=True)
    parser.add_argument(
        "--init-from", type=Path, help="folder of the run whose weights a transferred cell takes"
    )
    parser.add_argument("--out", type=Path, required=True, help="result.json, written last")
    run(train_cell, parser)
