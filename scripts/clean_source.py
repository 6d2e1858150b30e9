"""Validate one FASTA file and write it upper case, one line per sequence, named by id.

python scripts/clean_source.py --source uniref_demo --fasta data/raw/uniref_demo.fasta.gz \
    --out data/clean/uniref_demo.fasta --counts data/clean/uniref_demo.counts.tsv
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.sources.clean import clean_source

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="name of the source, for the counts")
    parser.add_argument("--fasta", type=Path, required=True, help="plain or gzip FASTA")
    parser.add_argument("--out", type=Path, required=True, help="the cleaned FASTA")
    parser.add_argument("--counts", type=Path, required=True, help="counts.tsv of this source")
    program.run(clean_source, parser)
