"""Fit one law of one objective to a table of runs, with intervals and a statement of its health.

python scripts/fit_law.py --law isoflop --objective clm --study demo --runs results/demo/runs.csv \
    --curves results/demo/curves.parquet --bootstrap 1000 --level 0.95 --seed 1 --huber-delta 1e-3 \
    --out results/demo/laws/clm.isoflop.json
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.laws.fit import fit_law
from plm_scaling.runs.tables import OBJECTIVES
from plm_scaling.study.laws import BOTH, LAWS

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--law", choices=sorted(LAWS), required=True)
    parser.add_argument("--objective", choices=(*OBJECTIVES, BOTH), required=True)
    parser.add_argument("--study", required=True, help="the study's name, kept in the law file")
    parser.add_argument("--runs", type=Path, required=True, help="table of runs (runs.csv)")
    parser.add_argument("--curves", type=Path, help="their curves (curves.parquet)")
    parser.add_argument("--bootstrap", type=int, required=True, help="resamples; 0 for none")
    parser.add_argument("--level", type=float, required=True, help="level of the intervals")
    parser.add_argument("--seed", type=int, required=True, help="seed of the resamples")
    parser.add_argument("--huber-delta", type=float, required=True, help="parametric law only")
    parser.add_argument("--out", type=Path, required=True, help="the law file (JSON)")
    program.run(fit_law, parser)
