"""Make proteins by a causal model of a study.

python scripts/generate_proteins.py --model results/demo/runs/CELL \
    --settings '{"number": 50, "temperature": 1, "top_p": 1}' --pool data/demo/pool/protein \
    --split data/demo/split --seed 1 --threads 1 --out results/demo/downstream/CELL/generation.fasta
"""

from plm_scaling.common.program import run
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from plm_scaling.downstream.generation.task import generate_proteins  # noqa: E402

if __name__ == "__main__":
    run(generate_proteins)
