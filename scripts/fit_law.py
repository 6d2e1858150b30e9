"""Fit one law of one objective to a table of runs, with intervals and a statement of its health.

python scripts/fit_law.py --law isoflop --objective clm --study demo --runs results/demo/runs.csv \
    --curves results/demo/curves.parquet --bootstrap 1000 --level 0.95 --seed 1 --huber-delta 1e-3 \
    --out results/demo/laws/clm.isoflop.json
"""

from plm_scaling.common.program import run
from plm_scaling.laws.fit import fit_law

if __name__ == "__main__":
    run(fit_law)
