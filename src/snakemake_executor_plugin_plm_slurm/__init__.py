"""Snakemake's executor `plm-slurm`: Snakemake finds executors by the names of packages.

The options are those of the Slurm plugin, with the prefix `--plm-slurm-`.
"""

from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings

from plm_scaling.slurm.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]
