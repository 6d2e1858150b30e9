"""Download the study's released logs and verify every file.

python scripts/fetch_published.py --archives resources/published/archive.tsv \
    --files resources/published/files.tsv --out data/raw/published_logs
"""

import argparse
from pathlib import Path

from plm_scaling.cheng2024.logs.release import fetch_release
from plm_scaling.common import program

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--archives", type=Path, required=True, help="where the release's archive is"
    )
    parser.add_argument("--files", type=Path, required=True, help="path, bytes, sha256 of its logs")
    parser.add_argument("--out", type=Path, required=True, help="the folder that is made")
    program.run(fetch_release, parser)
