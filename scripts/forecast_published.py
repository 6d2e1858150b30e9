"""Forecast the study's released runs as if they had been trained in order of compute.

python scripts/forecast_published.py --runs results/published/runs.csv \
    --curves results/published/curves.parquet --huber-delta 1e-3 \
    --out results/published/forecasts.csv
"""

from plm_scaling.cheng2024.forecasts import forecast_published
from plm_scaling.common.program import run

if __name__ == "__main__":
    run(forecast_published)
