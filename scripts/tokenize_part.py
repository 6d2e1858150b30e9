"""Pack one part of the selected sequences into token shards.

python scripts/tokenize_part.py --pool data/demo/pool/protein --selected data/demo/filter \
    --part 0 --corpus demo --context-length 256 --shard-rows 1000000 \
    --out data/demo/tokens/protein/part-0000
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.tokens.write.tokenize import tokenize_part

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="pool of proteins or of code")
    parser.add_argument("--selected", type=Path, required=True, help="folder of what to tokenise")
    parser.add_argument("--part", type=int, required=True, help="number of the part, from 0")
    parser.add_argument("--corpus", required=True, help="name of the data set, for the metadata")
    parser.add_argument("--context-length", type=int, required=True, help="tokens per row")
    parser.add_argument("--shard-rows", type=int, required=True, help="most rows per shard")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(tokenize_part, parser)
