"""One self-contained page: the findings of a study and how far they can be trusted.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the page changes.
"""

STAGE_VERSION = 11
