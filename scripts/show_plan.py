"""Print the sweep and its bill; trains nothing.

python scripts/show_plan.py --sweep results/demo/sweep.tsv --machine '{"backend": "cpu", …}'
"""

import argparse
from pathlib import Path

from plm_scaling.common.program import run
from plm_scaling.sweep.bill import show_plan

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", type=Path, required=True, help="sweep.tsv")
    parser.add_argument("--machine", required=True, help="this block of the config, as JSON")
    run(show_plan, parser)
