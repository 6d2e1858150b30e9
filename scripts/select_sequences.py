"""Apply length, unknown-residue, low-complexity and perplexity rules to the score tables.

python scripts/select_sequences.py --pool data/demo/pool/protein --split data/demo/split \
    --scores data/demo/scores --settings '{"min_length": 30, "max_length": 10000,
    "max_unknown_fraction": 0.05, "min_distinct_3mer_ratio": 0.65,
    "length_bins": [0, 100, 200, 400, 800], "perplexity_quantiles": [0.01, 0.99]}' \
    --mmseqs auto --out data/demo/filter
"""

from plm_scaling.common.program import run
from plm_scaling.filter.select import select_sequences

if __name__ == "__main__":
    run(select_sequences)
