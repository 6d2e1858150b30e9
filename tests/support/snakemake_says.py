"""What Snakemake's logger says of jobs to the writer that the Snakefile adds."""

import logging
from types import SimpleNamespace

from plm_scaling.runs.job_events import FILE, JobEvents


class Snakemake:
    """A run in a folder, which begins and ends with the block.

    It has to do `rules`: by name, the number of jobs.
    """

    def __init__(self, folder, rules=()):
        (folder / FILE).parent.mkdir(exist_ok=True)
        known = [
            SimpleNamespace(name=name, output=["a"], jobs=jobs)
            for name, jobs in dict(rules).items()
        ]
        self._dag = SimpleNamespace(
            jobs=[],
            jobid=lambda job: job.number,
            workflow=SimpleNamespace(rules=known),
            needrun_jobs=lambda: [
                SimpleNamespace(rule=rule) for rule in known for _ in range(rule.jobs)
            ],
        )
        self._writer = JobEvents(folder / FILE, self._dag)
        self._logger = logging.Logger("snakemake")
        self._logger.addHandler(self._writer)

    def __enter__(self):
        self._say("Building DAG of jobs...")
        return self

    def __exit__(self, *error):
        self._writer.close()

    def starts(self, number, rule="a", output="a", logs=()):
        said = {"rule_name": rule, "output": [output], "log": list(logs)}
        self._say(f" Rule: {rule}, Jobid: {number}", event="job_info", jobid=number, **said)

    def fails(self, number, rule, output, logs=(), message=None, again=False):
        """Also what the record of a job_error has that the writer leaves."""
        self._dag.jobs[:] = [SimpleNamespace(number=number, attempt=1, restart_times=int(again))]
        said = {"rule_name": rule, "rule_msg": message, "output": [output], "log": list(logs)}
        self._say("Error in rule", event="job_error", jobid=number, input=[], aux={}, **said)

    def finishes(self, number):
        self._say(f"Finished jobid: {number}", event="job_finished", job_id=number)

    def _say(self, message, **extra):
        self._logger.info(message, extra=extra)
