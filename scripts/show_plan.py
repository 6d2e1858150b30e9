"""Print the sweep, its bill and what it is expected to teach; trains nothing.

python scripts/show_plan.py --sweep results/demo/sweep.tsv --machine '{"backend": "cpu", …}' \
    --blocks '{"seed": 1, "corpora": …, "tokens": …, "sweep": …, "training": …}'
"""

from plm_scaling.common.program import run
from plm_scaling.design.show import show_plan

if __name__ == "__main__":
    run(show_plan)
