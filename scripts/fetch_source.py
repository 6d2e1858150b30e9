"""Fetch one raw file of the source table; verify its length and checksum.

python scripts/fetch_source.py --table resources/sources.tsv --file uniref_demo.fasta.gz \
    --out data/raw/uniref_demo.fasta.gz
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.sources.fetch.source import fetch_source

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="resources/sources.tsv")
    parser.add_argument("--file", required=True, help="a file name of the table's column file")
    parser.add_argument("--out", type=Path, required=True, help="where the file goes")
    program.run(fetch_source, parser)
