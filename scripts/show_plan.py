"""Print the sweep and its bill; trains nothing.

python scripts/show_plan.py --sweep results/demo/sweep.tsv
"""

import argparse
from pathlib import Path

from plm_scaling.program import run
from plm_scaling.sweep.table import show_plan

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="sweep.tsv")
    run(show_plan, parser)
