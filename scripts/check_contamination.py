"""Check that no validation sequence has a training homologue; exit 1 if one has.

python scripts/check_contamination.py --split data/demo/split --min-seq-id 0.5 --coverage 0.8 \
    --sensitivity 5.7 --threads 2 --mmseqs auto --out data/demo/contamination.json
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.dedup.contamination import check_contamination

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--split", type=Path, required=True, help="folder made by split_clusters.py"
    )
    parser.add_argument("--min-seq-id", type=float, required=True, help="identity, 0 to 1")
    parser.add_argument("--coverage", type=float, required=True, help="of the validation sequence")
    parser.add_argument("--sensitivity", type=float, required=True, help="of the search, 1 to 7.5")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--mmseqs", required=True, help="path of MMseqs2, or auto")
    parser.add_argument("--out", type=Path, required=True, help="report to write when clean")
    program.run(check_contamination, parser)
