"""Cluster the pool of all sources and choose one representative per cluster.

python scripts/deduplicate.py --pool data/demo/pool/protein --min-seq-id 0.9 --coverage 0.8 \
    --threads 2 --memory-mb 4000 --mmseqs auto --out data/demo/dedup
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.dedup.deduplicate import deduplicate
from plm_scaling.mmseqs.resources import add_arguments

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder with all pooled parts")
    parser.add_argument("--min-seq-id", type=float, required=True, help="identity, 0 to 1")
    parser.add_argument("--coverage", type=float, required=True, help="of both sequences, 0 to 1")
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(deduplicate, parser)
