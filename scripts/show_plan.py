"""Print the sweep and its bill; trains nothing.

python scripts/show_plan.py --sweep results/demo/sweep.tsv --machine '{"backend": "cpu", …}' \
    --blocks '{"seed": 1, "corpora": …, "tokens": …, "sweep": …, "training": …}'
"""

from plm_scaling.common.program import run
from plm_scaling.sweep.bill import show_plan

if __name__ == "__main__":
    run(show_plan)
