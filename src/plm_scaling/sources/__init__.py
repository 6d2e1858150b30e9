"""Source table, verified download, and cleaning of sequences and source code into parts."""

STAGE_VERSION = 4
