"""Verify a raw file that was put into data/raw by hand, as a fetch verifies what it brings.

python scripts/verify_source.py --table resources/sources.tsv --file uniref_demo.fasta.gz \
    --raw data/raw/uniref_demo.fasta.gz
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.sources.fetch.raw_files import verify_raw

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="resources/sources.tsv")
    parser.add_argument("--file", required=True, help="a file name of the table's column file")
    parser.add_argument("--raw", type=Path, required=True, help="where the file lies")
    program.run(verify_raw, parser)
