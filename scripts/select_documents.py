"""List the code documents to tokenise, each different one once, split by content.

python scripts/select_documents.py --pool data/demo/pool/code --valid-fraction 0.05 --seed 1 \
    --out data/demo/filter_code
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.filter.documents import select_documents

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="folder of the pool's parts")
    parser.add_argument("--valid-fraction", type=float, required=True, help="held out, 0 to 1")
    parser.add_argument("--seed", type=int, required=True, help="of the draw")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(select_documents, parser)
