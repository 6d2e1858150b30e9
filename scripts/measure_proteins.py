"""Measure by other models the proteins that a model of a study made, or natural or shuffled ones.

python scripts/measure_proteins.py --proteins results/demo/downstream/CELL/generation.fasta \
    --number 50 --perplexity-by models/esm2_t6_8M_UR50D --pool data/demo/pool/protein \
    --split data/demo/split --seed 1 --threads 1 --out results/demo/downstream/CELL/measured.npz
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.generation.task import measure_proteins

if __name__ == "__main__":
    run(measure_proteins)
