"""Figures as pure functions of tables; every figure ships with the numbers it draws.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the figures change.
"""

STAGE_VERSION = 1
