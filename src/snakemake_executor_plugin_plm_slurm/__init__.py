"""Snakemake's executor `plm-slurm`: Snakemake finds executors by the names of packages.

The options are those of the Slurm plugin, with the prefix `--plm-slurm-`.
"""

from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


class Executor(SlurmExecutor):
    """Makes that of `plm_scaling.slurm.executor`.

    Not before it is wanted: Snakemake imports this package at its start, whatever it runs, and the
    library of a study is that of the repository with its Snakefile, which is read later.
    """

    def __new__(cls, workflow: Any, logger: Any) -> Any:
        from plm_scaling.slurm.executor import StudyExecutor

        return StudyExecutor(workflow, logger)
