"""Draw the figures of the study's released runs, each as SVG, PDF, PNG and its numbers as CSV.

python scripts/draw_published_figures.py --runs results/published/runs.csv \
    --curves results/published/curves.parquet --laws results/published/laws/*.json \
    --released resources/downstream/published.tsv \
    --assays resources/downstream/proteingym_assays.tsv \
    --only isoflop ur50_unimeta --out results/published/figures
"""

from plm_scaling.cheng2024.figures import draw_published_figures
from plm_scaling.common.program import run

if __name__ == "__main__":
    run(draw_published_figures)
