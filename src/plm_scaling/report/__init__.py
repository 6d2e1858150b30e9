"""One self-contained page that says what was found and how far it can be trusted.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the page changes.
"""

STAGE_VERSION = 5
