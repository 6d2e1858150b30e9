"""MMseqs2 drivers: deduplication, cluster-aware split, contamination check."""

STAGE_VERSION = 4
