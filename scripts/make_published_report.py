"""Write the report on the study's published logs, and the table of its constants next to it.

python scripts/make_published_report.py --runs results/published/runs.csv \
    --curves results/published/curves.parquet --audit results/published/audit.csv \
    --laws results/published/laws/*.json --figures results/published/figures \
    --constants resources/published/constants.tsv --out results/published/report.html
"""

import argparse
from pathlib import Path

from plm_scaling.cheng2024.page import make_published_report
from plm_scaling.common import program

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True, help="table of runs")
    parser.add_argument("--curves", type=Path, required=True, help="table of curves")
    parser.add_argument("--audit", type=Path, required=True, help="what became of each file")
    parser.add_argument("--laws", type=Path, nargs="+", required=True, help="law files")
    parser.add_argument("--figures", type=Path, required=True, help="folder of {name}.svg")
    parser.add_argument("--constants", type=Path, required=True, help="the published constants")
    parser.add_argument("--out", type=Path, required=True, help="the page (HTML)")
    program.run(make_published_report, parser)
