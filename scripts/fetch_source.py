"""Fetch one raw file of the source table; verify its length and checksum.

python scripts/fetch_source.py --table resources/sources.tsv --file uniref50.fasta.gz \
    --out data/raw/uniref50.fasta.gz
"""

from plm_scaling.common.program import run
from plm_scaling.sources.fetch.source import fetch_source

if __name__ == "__main__":
    run(fetch_source)
