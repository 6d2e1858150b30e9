"""Pack one part of the selected sequences into token shards.

python scripts/tokenize_part.py --pool data/demo/pool/protein --selected data/demo/filter \
    --part 0 --corpus demo --context-length 256 --shard-rows 1000000 \
    --out data/demo/tokens/protein/part-0000
"""

from plm_scaling.common.program import run
from plm_scaling.tokens.write.tokenize import tokenize_part

if __name__ == "__main__":
    run(tokenize_part)
