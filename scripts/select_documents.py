"""List the code documents to tokenise, each different one once, split by content.

python scripts/select_documents.py --pool data/demo/pool/code --valid-fraction 0.05 --seed 1 \
    --out data/demo/filter_code
"""

from plm_scaling.common.program import run
from plm_scaling.filter.documents import select_documents

if __name__ == "__main__":
    run(select_documents)
