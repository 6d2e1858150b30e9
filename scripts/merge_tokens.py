"""List the token shards of all parts in one manifest.

python scripts/merge_tokens.py --tokens data/demo/tokens \
    --contamination data/demo/contamination.json --thresholds data/demo/filter/thresholds.json \
    --out data/demo/tokens/manifest.json
"""

from plm_scaling.common.program import run
from plm_scaling.tokens.write.merge import merge_tokens

if __name__ == "__main__":
    run(merge_tokens)
