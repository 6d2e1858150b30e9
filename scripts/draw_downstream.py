"""Draw the figures of a study's scores on benchmarks, each as SVG, PDF, PNG and its numbers as CSV.

python scripts/draw_downstream.py --scores results/demo/downstream/scores.csv \
    --groups results/demo/downstream/groups.csv --laws results/demo/laws/*.downstream.json \
    --published resources/downstream/published.tsv --out results/demo/figures
"""

from plm_scaling.common.program import run
from plm_scaling.figures.downstream.draw import draw_downstream

if __name__ == "__main__":
    run(draw_downstream)
