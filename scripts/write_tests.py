"""Write the test proteins of a benchmark as FASTA, a source that is kept out of training.

python scripts/write_tests.py --data data/downstream/globins \
    --out data/downstream/globins.tests.fasta
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.similarity.expose import write_tests

if __name__ == "__main__":
    run(write_tests)
