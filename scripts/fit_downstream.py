"""Fit the law of an objective's scores on benchmarks: how they follow the held-out loss.

python scripts/fit_downstream.py --scores results/demo/downstream/scores.csv --objective clm \
    --study demo --frontier results/demo/laws/clm.isoflop.json --bootstrap 1000 --level 0.95 \
    --seed 1 --out results/demo/laws/clm.downstream.json
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.law.fit import fit_downstream

if __name__ == "__main__":
    run(fit_downstream)
