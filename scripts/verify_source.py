"""Verify a raw file that was put into data/raw by hand; a wrong one is moved aside and fetched.

python scripts/verify_source.py --table resources/sources.tsv --file uniref50.fasta.gz \
    --raw data/raw/uniref50.fasta.gz
"""

from plm_scaling.common.program import run
from plm_scaling.sources.fetch.raw_files import verify_raw

if __name__ == "__main__":
    run(verify_raw)
