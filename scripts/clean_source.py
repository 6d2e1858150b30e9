"""Clean one source of the table: its records, each in the FASTA file of its part.

python scripts/clean_source.py --table resources/sources.tsv --source uniref_demo \
    --raw data/raw/uniref_demo.fasta.gz --parts 2 --max-rejected-fraction 0.01 \
    --out data/demo/clean/uniref_demo
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.sources.clean import clean_source

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="resources/sources.tsv")
    parser.add_argument("--source", required=True, help="name of a row of the table")
    parser.add_argument("--raw", type=Path, required=True, help="its raw file")
    parser.add_argument("--parts", type=int, required=True, help="number of parts, a power of two")
    parser.add_argument(
        "--max-rejected-fraction",
        type=float,
        required=True,
        help="stop if a larger share of the records cannot be used",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder that is made")
    program.run(clean_source, parser)
