"""Scaling laws fitted to a table of runs, each with intervals and a statement of its health.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when a fit changes its numbers.
"""

STAGE_VERSION = 1
