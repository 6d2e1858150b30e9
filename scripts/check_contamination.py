"""Check that no training sequence covers a held-out one; exit 1 if one does.

python scripts/check_contamination.py --split data/demo/split --pool data/demo/pool/protein \
    --min-seq-id 0.5 --coverage 0.8 --sensitivity 5.7 \
    --threads 2 --memory-mb 4000 --mmseqs auto --out data/demo/contamination.json
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.dedup.contamination import check_contamination
from plm_scaling.mmseqs.resources import add_arguments

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--split", type=Path, required=True, help="folder made by split_clusters.py"
    )
    parser.add_argument("--pool", type=Path, required=True, help="folder with all pooled parts")
    parser.add_argument(
        "--downstream", type=Path, nargs="*", default=[], help="folders of cleaned test sequences"
    )
    parser.add_argument("--min-seq-id", type=float, required=True, help="identity, 0 to 1")
    parser.add_argument("--coverage", type=float, required=True, help="of the held-out sequence")
    parser.add_argument("--sensitivity", type=float, required=True, help="of the search, 1 to 7.5")
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="report to write when clean")
    program.run(check_contamination, parser)
