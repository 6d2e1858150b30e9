"""Draw the figures of a study, each as SVG, PDF, PNG and the numbers it shows as CSV.

python scripts/draw_figures.py --runs results/demo/runs.csv --curves results/demo/curves.parquet \
    --evaluations results/demo/evaluations.csv \
    --laws results/demo/laws/clm.isoflop.json results/demo/laws/mlm.isoflop.json \
    --counts data/clean/a.counts.tsv data/demo/dedup/counts.tsv --filter data/demo/filter \
    --out results/demo/figures

The figures of the data are drawn with --counts and --filter, those of runs and laws
with --runs, --curves, --evaluations and --laws; --only names those wanted.
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.figures.draw import draw_figures

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="table of runs")
    parser.add_argument("--curves", type=Path, help="table of curves")
    parser.add_argument("--evaluations", type=Path, help="table of losses by held-out set")
    parser.add_argument("--laws", type=Path, nargs="*", default=[], help="law files")
    parser.add_argument("--counts", type=Path, nargs="*", default=[], help="counts.tsv by stage")
    parser.add_argument("--filter", type=Path, help="folder made by select_sequences.py")
    parser.add_argument("--only", nargs="*", default=[], help="draw these figures and no others")
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")
    program.run(draw_figures, parser)
