"""Make a run folder of a cell as it is before training.

python scripts/make_untrained.py --cell '{"objective": "clm", …}' --threads 1 \
    --out results/demo/untrained/CELL/result.json
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.untrained import write_untrained

if __name__ == "__main__":
    run(write_untrained)
