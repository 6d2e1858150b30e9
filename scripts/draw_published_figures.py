"""Draw the figures of the study's released runs, each as SVG, PDF, PNG and its numbers as CSV.

python scripts/draw_published_figures.py --runs results/published/runs.csv \
    --curves results/published/curves.parquet --laws results/published/laws/*.json \
    --only isoflop ur50_unimeta --out results/published/figures
"""

import argparse
from pathlib import Path

from plm_scaling.cheng2024.figures import draw_published_figures
from plm_scaling.common import program

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="table of runs")
    parser.add_argument("--curves", type=Path, required=True, help="table of curves")
    parser.add_argument("--laws", type=Path, nargs="+", required=True, help="law files")
    parser.add_argument("--only", nargs="+", required=True, help="names of the figures wanted")
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")
    program.run(draw_published_figures, parser)
