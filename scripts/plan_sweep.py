"""Write the cells of a sweep as a table.

python scripts/plan_sweep.py --blocks '{"seed": 1, "corpora": …, "tokens": …, "sweep": …,
"training": …}' --out results/demo/sweep.tsv
"""

from plm_scaling.common.program import run
from plm_scaling.sweep.table import plan_sweep

if __name__ == "__main__":
    run(plan_sweep)
