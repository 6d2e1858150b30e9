"""Make a run folder of a cell as it is before training.

python scripts/make_untrained.py --cell '{"objective": "clm", …}' --threads 1 \
    --out results/demo/untrained/CELL/result.json
"""

from plm_scaling.common.program import run
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from plm_scaling.downstream.untrained import write_untrained  # noqa: E402

if __name__ == "__main__":
    run(write_untrained)
