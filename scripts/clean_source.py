"""Clean one source of the table: its records, each in the FASTA file of its part.

python scripts/clean_source.py --table resources/sources.tsv --source uniref_demo \
    --raw resources/demo/uniref_demo.fasta.gz --parts 2 --max-rejected-fraction 0.01 \
    --out data/demo/clean/uniref_demo
"""

from plm_scaling.common.program import run
from plm_scaling.sources.clean import clean_source

if __name__ == "__main__":
    run(clean_source)
