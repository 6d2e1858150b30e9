"""Source table, verified download and cleaning of FASTA files."""

STAGE_VERSION = 1
