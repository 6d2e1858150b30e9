"""Judge proteins that a model of a study made, beside natural and shuffled ones.

python scripts/judge_proteins.py --proteins results/demo/downstream/CELL/generation.fasta \
    --model results/demo/runs/CELL --pool data/demo/pool/protein --split data/demo/split \
    --seed 1 --threads 2 --memory-mb 4000 --mmseqs auto \
    --out results/demo/downstream/CELL/generation.tsv
"""

from plm_scaling.common.program import run
from plm_scaling.downstream.generation.task import judge_proteins

if __name__ == "__main__":
    run(judge_proteins)
