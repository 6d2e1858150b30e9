"""Write the cells of a sweep as a table.

python scripts/plan_sweep.py --blocks '{"seed": 1, "corpora": …, "tokens": …, "sweep": …,
"training": …}' --out results/demo/sweep.tsv
"""

import argparse
from pathlib import Path

from plm_scaling.common.program import run
from plm_scaling.sweep.table import plan_sweep

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", required=True, help="these blocks of the config, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="sweep.tsv")
    run(plan_sweep, parser)
