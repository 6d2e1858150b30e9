"""From the records of trained cells to one table of runs and one of loss curves.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the tables change meaning.
"""

STAGE_VERSION = 2
