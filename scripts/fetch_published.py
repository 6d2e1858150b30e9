"""Download the study's released logs and verify every file.

python scripts/fetch_published.py --archives resources/published/archive.tsv \
    --files resources/published/files.tsv --out data/raw/published_logs
"""

from plm_scaling.cheng2024.logs.release import fetch_release
from plm_scaling.common.program import run

if __name__ == "__main__":
    run(fetch_release)
