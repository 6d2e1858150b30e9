"""Fit one law to the study's released runs, with what the study's own procedure gives there.

python scripts/fit_published_law.py --law isoflop --objective clm --study published \
    --runs results/published/runs.csv --curves results/published/curves.parquet \
    --minima resources/published/minima.tsv --notebook results/published/notebook_points.parquet \
    --held-out-above 1.2e21 --bootstrap 1000 --level 0.95 --seed 1 --huber-delta 1e-3 \
    --out results/published/laws/clm.isoflop.json
"""

from plm_scaling.cheng2024.fit import fit_published_law
from plm_scaling.common.program import run

if __name__ == "__main__":
    run(fit_published_law)
