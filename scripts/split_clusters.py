"""Split the representatives into training and held-out sets by whole clusters.

python scripts/split_clusters.py --pool data/demo/pool/protein --dedup data/demo/dedup \
    --min-seq-id 0.5 --coverage 0.8 --clustering cluster --valid-fraction 0.05 \
    --reference-fraction 0.1 --reference-source uniref_demo --sensitivity 5.7 --seed 1 \
    --threads 2 --memory-mb 4000 --mmseqs auto --out data/demo/split
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.dedup.split import OPTIONS, split_clusters
from plm_scaling.mmseqs.resources import add_arguments

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder with all pooled parts")
    parser.add_argument("--dedup", type=Path, required=True, help="folder made by deduplicate.py")
    parser.add_argument("--min-seq-id", type=float, required=True, help="identity, 0 to 1")
    parser.add_argument("--coverage", type=float, required=True, help="0 to 1")
    parser.add_argument("--clustering", choices=list(OPTIONS), required=True)
    parser.add_argument("--valid-fraction", type=float, required=True, help="of clusters")
    parser.add_argument("--reference-fraction", type=float, required=True, help="of clusters")
    parser.add_argument("--reference-source", required=True, help="source of the n-gram model")
    parser.add_argument(
        "--ood-sources",
        nargs="*",
        default=[],
        help="sources whose clusters without others form the out-of-distribution set",
    )
    parser.add_argument(
        "--downstream",
        type=Path,
        nargs="*",
        default=[],
        help="folders of cleaned test sequences that training must not resemble",
    )
    parser.add_argument("--sensitivity", type=float, required=True, help="of the search, 1 to 7.5")
    parser.add_argument("--seed", type=int, required=True)
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(split_clusters, parser)
