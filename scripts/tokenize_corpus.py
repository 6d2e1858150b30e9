"""Pack the kept sequences into token shards and write their manifest.

python scripts/tokenize_corpus.py --filter data/demo/filter \
    --contamination data/demo/contamination.json --corpus demo --context-length 256 \
    --shard-rows 1000000 --seed 1 --out data/demo/tokens
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.tokens.tokenize import tokenize_corpus

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", type=Path, required=True, help="made by select_sequences.py")
    parser.add_argument("--contamination", type=Path, required=True, help="the clean report")
    parser.add_argument("--corpus", required=True, help="name of the corpus, for the metadata")
    parser.add_argument("--context-length", type=int, required=True, help="tokens per row")
    parser.add_argument("--shard-rows", type=int, required=True, help="most rows per shard")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    program.run(tokenize_corpus, parser)
