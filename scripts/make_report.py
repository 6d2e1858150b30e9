"""Write the report of a study as one self-contained HTML page.

python scripts/make_report.py --study demo --config config/demo.yaml --runs results/demo/runs.csv \
    --laws results/demo/laws/clm.isoflop.json \
    --figures results/demo/figures --sources resources/sources.tsv \
    --counts data/demo/dedup/counts.tsv data/demo/filter/counts.tsv \
    --contamination data/demo/contamination.json --leakage data/demo/leakage.tsv \
    --manifest data/demo/tokens/manifest.json --tool data/demo/dedup/tool.json \
    --reference resources/published/reference.json --out results/demo/report.html
"""

from plm_scaling.common.program import run
from plm_scaling.report.page import make_report

if __name__ == "__main__":
    run(make_report)
