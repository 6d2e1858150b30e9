"""Score the sequences of one part with a reference model: an n-gram model, or a CLM.

python scripts/score_part.py --pool data/demo/pool/protein --split data/demo/split --part 0 \
    --model data/demo/scores/model.npz --threads 1 --out data/demo/scores/part-0000.parquet
"""

from pathlib import Path

from plm_scaling.common.program import run
from plm_scaling.filter.ngram import load_ngram
from plm_scaling.filter.score import score_part


def score(pool: Path, split: Path, part: int, model: Path, threads: int, out: Path) -> None:
    """Score with the model that lies at `model`: a folder is a CLM, a file an n-gram model.

    Args:
        pool: folder of the pool's parts
        split: folder made by split_clusters.py
        part: number of the part
        model: n-gram model (.npz), or folder of a CLM (a run, or ProGen2)
        threads: of a CLM; n-grams use one
        out: the score table, .parquet
    """
    if model.is_dir():
        from plm_scaling.inference.scoring.scorer import clm_scorer  # torch takes seconds to import

        with clm_scorer(str(model), threads) as scorer:
            score_part(pool, split, part, scorer, out)
    else:
        score_part(pool, split, part, load_ngram(model), out)


if __name__ == "__main__":
    run(score)
