"""Fit the law of two models of equal size, one per objective, from their IsoFLOP laws.

python scripts/fit_joint.py --clm results/demo/laws/clm.isoflop.json \
    --mlm results/demo/laws/mlm.isoflop.json --study demo --bootstrap 1000 --level 0.95 --seed 1 \
    --out results/demo/laws/both.joint.json
"""

import argparse
from pathlib import Path

from plm_scaling import program
from plm_scaling.laws.fit import fit_joint_law

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clm", type=Path, required=True, help="law file with N(C) for CLM")
    parser.add_argument("--mlm", type=Path, required=True, help="law file with N(C) for MLM")
    parser.add_argument("--study", required=True, help="the study's name, kept in the law file")
    parser.add_argument("--bootstrap", type=int, required=True, help="resamples; 0 for none")
    parser.add_argument("--level", type=float, required=True, help="level of the intervals")
    parser.add_argument("--seed", type=int, required=True, help="seed of the resamples")
    parser.add_argument("--out", type=Path, required=True, help="the law file (JSON)")
    program.run(fit_joint_law, parser)
