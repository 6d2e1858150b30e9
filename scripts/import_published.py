"""Turn the study's released logs into the tables of runs and curves, with an audit of every file.

python scripts/import_published.py --logs data/raw/published_logs \
    --out-runs results/published/runs.csv --out-curves results/published/curves.parquet \
    --out-audit results/published/audit.csv --out-notebook results/published/notebook_points.parquet
"""

import argparse
from pathlib import Path

from plm_scaling.cheng2024.logs.importer import import_published
from plm_scaling.common import program

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--logs", type=Path, required=True, help="folder of the study's released repository"
    )
    parser.add_argument("--out-runs", type=Path, required=True, help="the table of runs (CSV)")
    parser.add_argument("--out-curves", type=Path, required=True, help="all curves (Parquet)")
    parser.add_argument("--out-audit", type=Path, required=True, help="one row per file (CSV)")
    parser.add_argument(
        "--out-notebook",
        type=Path,
        required=True,
        help="raw points for the study's own procedure (Parquet)",
    )
    program.run(import_published, parser)
