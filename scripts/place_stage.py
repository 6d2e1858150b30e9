"""Place a stage of a sweep: sizes and seeds, by the runs of the earlier stages.

python scripts/place_stage.py --blocks '{"seed": 1, "corpora": …, "tokens": …, "sweep": …,
"training": …}' --laws '{"fits": …, "bootstrap": …}' --final-evaluations 1 \
    --runs results/demo/runs --sweep results/demo/sweep.tsv \
    --tokens data/demo/tokens/manifest.json --out results/demo/stages/2.json
"""

from plm_scaling.common.program import run
from plm_scaling.design.placing.stage import place_stage

if __name__ == "__main__":
    run(place_stage)
