"""Models that are fine-tuned to a benchmark by low-rank adapters, beside the frozen probes."""
