"""Put every forecast of a study beside what came of it.

python scripts/collect_forecasts.py --forecasts results/demo/forecasts \
    --runs results/demo/runs.csv --curves results/demo/curves.parquet \
    --out results/demo/forecasts.csv
"""

from plm_scaling.common.program import run
from plm_scaling.forecasts.outcomes import collect_forecasts

if __name__ == "__main__":
    run(collect_forecasts)
