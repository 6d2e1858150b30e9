"""Train one cell of the sweep, or resume it from its last checkpoint.

python scripts/train_cell.py --cell '{"objective": "clm", …}' --layout '{"backend": "cpu", …}'
--manifest data/demo/tokens/manifest.json --threads 1 --checkpoint-seconds 60 --out
results/demo/runs/CELL/result.json

A layout of several processes is started with torchrun, srun or mpirun. On SIGTERM, SIGUSR1 or
SIGUSR2 a checkpoint is saved after the running step, and the exit code is 75: run it again to
resume. Before its first start the first process forecasts a cell of a new largest budget.
"""

from functools import wraps

from plm_scaling.common.program import run
from plm_scaling.forecasts.start import forecast_before
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from plm_scaling.train.cell import train_cell  # noqa: E402
from plm_scaling.train.distributed.rendezvous import Rendezvous  # noqa: E402
from plm_scaling.train.stop import end, handled_by  # noqa: E402

RANK = Rendezvous.of_environment().rank


@wraps(train_cell)
def forecast_and_train(**asked):
    """What runs before: training knows no laws."""
    if RANK == 0:
        with handled_by(end):
            forecast_before(asked["cell"], asked["manifest"], asked["out"])
    train_cell(**asked)


if __name__ == "__main__":
    run(forecast_and_train, rank=RANK)
