"""What a job of a cluster was made with is recorded by the job itself.

Snakemake's records of inputs and params, by which it notices changes, are written by the Snakemake
that waits for the jobs. A job that ended after that was killed would have none, and a later change
of its params would go unnoticed.
"""

from typing import Any

from snakemake.persistence import PersistenceBase
from snakemake_interface_executor_plugins.settings import ExecMode


def record_in_jobs(workflow: Any) -> None:
    """Have the Snakemake inside a job write the records of what it has made; in others nothing."""
    if workflow.exec_mode != ExecMode.REMOTE:
        return
    finished = PersistenceBase.finished

    async def recorded(self: PersistenceBase, job: Any) -> None:
        settings = workflow.remote_execution_settings
        # The one setting with which Snakemake writes them in a job. It means more elsewhere.
        settings.immediate_submit = True
        try:
            await finished(self, job)
        finally:
            settings.immediate_submit = False

    PersistenceBase.finished = recorded
