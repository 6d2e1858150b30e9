"""Snakemake as `python -m snakemake`, whose Slurm plugin asks for the states of jobs every second.

The plugin waits ten seconds longer after each look that finds no end, so most of a test would be
waiting.
"""

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)

if __name__ == "__main__":
    main()
