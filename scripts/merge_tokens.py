"""List the token shards of all parts in one manifest.

python scripts/merge_tokens.py --tokens data/demo/tokens \
    --contamination data/demo/contamination.json --thresholds data/demo/filter/thresholds.json \
    --out data/demo/tokens/manifest.json
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.tokens.write.merge import merge_tokens

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=Path, required=True, help="holds {kind}/part-…/part.json")
    parser.add_argument("--contamination", type=Path, required=True, help="the clean report")
    parser.add_argument("--thresholds", type=Path, required=True, help="of the filter (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="manifest to write, in --tokens")
    program.run(merge_tokens, parser)
