"""What finished runs say of a run before it starts, kept as a file and compared when it ends.

`STAGE_VERSION` is a parameter of the Snakemake rules: raise it when the tables change.
"""

STAGE_VERSION = 1
