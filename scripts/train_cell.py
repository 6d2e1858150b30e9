"""Train one cell of the sweep, or resume it from its last checkpoint.

python scripts/train_cell.py --cell '{"objective": "clm", …}' --layout '{"backend": "cpu", …}'
--manifest data/demo/tokens/manifest.json --threads 1 --checkpoint-seconds 60 --out
results/demo/runs/CELL/result.json

A layout of several processes is started with torchrun or srun. On SIGTERM, SIGUSR1 or SIGUSR2 a
checkpoint is saved after the running step, and the exit code is 75: run it again to resume.
"""

import argparse
from pathlib import Path

from plm_scaling.common.program import run
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from plm_scaling.train.cell import train_cell  # noqa: E402
from plm_scaling.train.distributed.process import Rendezvous  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", required=True, help="the cell's fields as JSON (see sweep.tsv)")
    parser.add_argument("--layout", required=True, help="processes and micro-batches as JSON")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of the tokens")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads of a process")
    parser.add_argument("--checkpoint-seconds", type=float, required=True)
    parser.add_argument(
        "--init-from",
        type=Path,
        nargs="?",
        help="result.json of a finished run: begin with its weights; nothing: from scratch",
    )
    parser.add_argument(
        "--profile-steps", type=int, default=0, help="steps to profile into profile/ beside --out"
    )
    parser.add_argument("--out", type=Path, required=True, help="result.json, written last")
    run(train_cell, parser, rank=Rendezvous.of_environment().rank)
