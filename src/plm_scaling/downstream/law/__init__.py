"""The law of scores: what lower loss is worth on a benchmark, from scores.csv alone."""
