"""Draw the figures of a study, each as SVG, PDF, PNG and the numbers it shows as CSV.

python scripts/draw_figures.py --runs results/demo/runs.csv --curves results/demo/curves.parquet \
    --evaluations results/demo/evaluations.csv \
    --laws results/demo/laws/clm.isoflop.json results/demo/laws/mlm.isoflop.json \
    --counts data/clean/a.counts.tsv data/demo/dedup/counts.tsv --filter data/demo/filter \
    --out results/demo/figures

The figures of the data are drawn with --counts and --filter, those of runs and laws
with --runs, --curves, --evaluations and --laws; --only names those wanted.
"""

from plm_scaling.common.program import run
from plm_scaling.figures.draw import draw_figures

if __name__ == "__main__":
    run(draw_figures)
