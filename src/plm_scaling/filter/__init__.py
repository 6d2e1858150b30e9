"""Reference models, score tables and selection."""

STAGE_VERSION = 4
