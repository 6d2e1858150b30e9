"""Pool one part of the cleaned sources: each different sequence once, ordered by content.

python scripts/pool_part.py --clean data/demo/clean/uniref_demo data/demo/clean/metagenome_demo \
    --sources uniref_demo metagenome_demo --part 0 --parts 2 --kind protein \
    --out data/demo/pool/protein/part-0000
"""

from plm_scaling.common.program import run
from plm_scaling.pool.write import pool_part

if __name__ == "__main__":
    run(pool_part)
