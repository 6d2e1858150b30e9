"""MMseqs2 drivers: deduplication, cluster-aware split, contamination check."""

STAGE_VERSION = 4

KEPT_OUT = "kept_out.json"
"""File beside the split: names of the test sets whose homologues were kept out when it was made. No
output of the rule, which Snakemake would delete before the split is run again."""
DOWNSTREAM = "downstream"
"""Name of these test sets together in contamination.json."""
