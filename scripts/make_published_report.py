"""Write the report on the study's published logs, and the table of its constants next to it.

python scripts/make_published_report.py --runs results/published/runs.csv \
    --audit results/published/audit.csv \
    --laws results/published/laws/*.json --figures results/published/figures \
    --constants resources/published/constants.tsv \
    --released resources/downstream/published.tsv \
    --assays resources/downstream/proteingym_assays.tsv --out results/published/report.html
"""

from plm_scaling.cheng2024.page import make_published_report
from plm_scaling.common.program import run

if __name__ == "__main__":
    run(make_published_report)
