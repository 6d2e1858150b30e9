"""Pool one part of the cleaned sources: each different sequence once, ordered by content.

python scripts/pool_part.py --clean data/demo/clean/uniref_demo data/demo/clean/metagenome_demo \
    --sources uniref_demo metagenome_demo --part 0 --parts 2 --kind protein \
    --out data/demo/pool/protein/part-0000
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.pool.read import CODE, PROTEIN
from plm_scaling.pool.write import pool_part

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=Path, nargs="+", required=True, help="by clean_source.py")
    parser.add_argument(
        "--sources", nargs="+", required=True, help="their names, first owns copies"
    )
    parser.add_argument("--part", type=int, required=True, help="number of the part, from 0")
    parser.add_argument("--parts", type=int, required=True, help="how many there are")
    parser.add_argument("--kind", choices=[PROTEIN, CODE], required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(pool_part, parser)
