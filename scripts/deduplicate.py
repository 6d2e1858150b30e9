"""Cluster all sources together and keep one representative per cluster.

python scripts/deduplicate.py \
    --fasta data/clean/uniref_demo.fasta data/clean/metagenome_demo.fasta \
    --sources uniref_demo metagenome_demo \
    --min-seq-id 0.9 --coverage 0.8 --threads 2 --mmseqs auto --out data/demo/dedup
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.dedup.deduplicate import deduplicate

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fasta", type=Path, nargs="+", required=True, help="cleaned FASTA files")
    parser.add_argument("--sources", nargs="+", required=True, help="their names, in that order")
    parser.add_argument("--min-seq-id", type=float, required=True, help="identity, 0 to 1")
    parser.add_argument("--coverage", type=float, required=True, help="of both sequences, 0 to 1")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--mmseqs", required=True, help="path of MMseqs2, or auto")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(deduplicate, parser)
