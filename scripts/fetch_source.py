"""Fetch one source of the table and verify its size and checksum.

python scripts/fetch_source.py --table resources/sources.tsv --source uniref_demo \
    --out data/raw/uniref_demo.fasta.gz
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.sources.fetch import fetch_source

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="resources/sources.tsv")
    parser.add_argument("--source", required=True, help="name of a row of the table")
    parser.add_argument("--out", type=Path, required=True, help="where the file goes")
    program.run(fetch_source, parser)
