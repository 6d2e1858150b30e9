"""From the records of trained cells to tables of runs, of loss curves and of
losses by held-out set.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the tables change meaning.
"""

STAGE_VERSION = 5
