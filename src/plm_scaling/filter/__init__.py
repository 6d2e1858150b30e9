"""Reference n-gram model, score table and selection."""

STAGE_VERSION = 1
