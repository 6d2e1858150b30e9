"""Turn the study's released logs into the tables of runs and curves, with an audit of every file.

python scripts/import_published.py --logs data/raw/published_logs \
    --out-runs results/published/runs.csv --out-curves results/published/curves.parquet \
    --out-audit results/published/audit.csv --out-notebook results/published/notebook_points.parquet
"""

from plm_scaling.cheng2024.logs.importer import import_published
from plm_scaling.common.program import run

if __name__ == "__main__":
    run(import_published)
