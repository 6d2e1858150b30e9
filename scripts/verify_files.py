"""Compare files of this machine with the checksum that their row of the source table states.

python scripts/verify_files.py --table resources/sources.tsv --source uniref_demo \
    --files resources/demo/uniref_demo.fasta.gz --out data/demo/clean/uniref_demo.verified.json
"""

from plm_scaling.common.program import run
from plm_scaling.sources.verify_files import verify_files

if __name__ == "__main__":
    run(verify_files)
