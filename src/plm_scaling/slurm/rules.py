"""The jobs of a workflow ask for what the site has, or are refused before one is submitted."""

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.iocontainers import ResourceList
from snakemake.logging import logger
from snakemake.resources import Resource

from plm_scaling.slurm.ask import site_limits
from plm_scaling.slurm.limits import Limits, fitted, least, reason_never_starts, with_given

PASSED_ON = "PLM_SCALING_SITE"  # to the Snakemake of each job, which is to find the same numbers


class SiteRules:
    """Fits what the rules of a Snakemake workflow ask for to the limits of the site.

    Snakemake has no place between a rule's resources and their submission, so the function of each
    rule that works them out is put into one that fits them. Of the rules `counted` memory is known
    to be needed: a first attempt that asks for more than there is is refused, not fitted.
    """

    def __init__(self, workflow: Any, counted: Collection[str]) -> None:
        self.workflow = workflow
        self.counted = counted
        for rule in workflow.rules:
            rule.expand_resources = partial(self._fitted, rule.name, rule.expand_resources)

    def check_jobs(self, later: Iterable[Mapping[str, Any]] = ()) -> None:
        """Exit naming the first job to be run that can never start; submit as many as allowed, also
        of jobs that are to come during the run and ask for resources such as those of `later`.

        Slurm does not list partitions that are hidden: one that it does not list is a warning."""
        jobs = self.workflow.dag.needrun_jobs()
        submitted = [job for job in jobs if not self.workflow.is_local(job.rule)]
        try:
            asked = [dict(job.resources.items()) for job in submitted]
        except WorkflowError as error:
            sys.exit(f"error: {error}")
        for name, rule in self._unlisted(zip(asked, submitted, strict=True)).items():
            listed = ", ".join(partition.name for partition in self.limits.partitions)
            logger.warning(f"warning: {rule} asks for partition {name}; Slurm lists {listed}")
        allowed = least(*map(self.limits.most_submitted, [*asked, *map(dict, later)]))
        if allowed is not None and allowed < self.workflow.resource_settings.nodes:
            self.workflow.register_resource("_nodes", allowed)
            logger.info(f"Slurm takes at most {allowed} jobs of this user: no more are submitted.")

    def _unlisted(self, jobs: Iterable[tuple[Mapping[str, Any], Any]]) -> dict[str, str]:
        """Partitions that jobs ask for and Slurm does not list, with a rule that does."""
        listed = {partition.name for partition in self.limits.partitions}
        if not listed:
            return {}
        return {
            name: job.rule.name
            for asked, job in jobs
            for name in str(asked.get("slurm_partition", "")).split(",")
            if name and name not in listed
        }

    @cached_property
    def limits(self) -> Limits:
        """None are known where nothing is submitted. Those that the profile gives come first."""
        workflow = self.workflow
        if not workflow.is_main_process:
            return Limits.from_json(os.environ[PASSED_ON]) if PASSED_ON in os.environ else Limits()
        if workflow.resource_settings.nodes is None:
            return Limits()
        plugin = workflow.executor_plugin
        slurm = workflow.dryrun or (plugin is not None and "slurm" in plugin.name)
        limits = with_given(site_limits() if slurm else Limits(), **self._given())
        os.environ[PASSED_ON] = limits.to_json()
        return limits

    def _given(self) -> dict[str, int]:
        """Limits of each job in the profile: `resources` with the scope local.

        They are taken from Snakemake, which would fit also what must not be fitted.
        """
        given = {}
        for name in ("runtime", "mem_mb"):
            limit = self.workflow.global_resources.get(name)
            if limit is not None and self.workflow.resource_scopes.is_local(name):
                given[name] = limit.value
                self.workflow.global_resources[name] = None
        return given

    def _fitted(
        self,
        rule: str,
        expand: Any,
        wildcards: Any,
        input: Any,
        attempt: int,
        skip_evaluation: Any = None,
    ) -> ResourceList:
        limits = self.limits  # first: see _given
        resources = dict(expand(wildcards, input, attempt, skip_evaluation).items())
        fits = fitted(resources, limits)
        kept = {"mem_mb": resources.get("mem_mb", 0)} if rule in self.counted else {}
        if attempt == 1 and (reason := reason_never_starts(fits | kept, limits)):
            job = " ".join([rule, *map(str, wildcards.values())])
            raise WorkflowError(f"{job} can never start: {reason}")
        if fits.get("mem_mb") != resources.get("mem_mb"):
            memory = Resource("mem_mb", fits["mem_mb"])
            fits |= {
                "mem": memory.format_human_friendly(),
                "mem_mib": memory.from_mb_to_mib().value,
            }
        return ResourceList(fromdict=fits)
