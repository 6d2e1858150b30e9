"""Snakemake's executor for Slurm: that of its plugin, for studies of hundreds of long jobs.

What a job asks of sbatch, its account, partition and log are as with the plugin. What differs:

- a submission that Slurm refuses for now (too many jobs, a controller that does not answer) waits;
- jobs of an earlier Snakemake in this folder that still run are watched, and not submitted again,
  or have to end first where they make something else (`plm_scaling.slurm.earlier`);
- an attempt is what another start cannot mend (`plm_scaling.slurm.endings`);
- a cell may have its job queued again before the time limit, whether or not Snakemake still runs;
- a job starts one Snakemake, by srun, and not two (`submission.script_of`);
- states are asked of squeue, then of accounting, and a job that both have forgotten has ended.
"""

import logging
import time
from collections.abc import AsyncGenerator, Hashable, Sequence
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from plm_scaling.common.errors import SlurmError
from plm_scaling.common.progress import many
from plm_scaling.slurm.earlier import BEING_CANCELLED, EarlierJobs
from plm_scaling.slurm.endings import TRAINING, History, ending, stopped_because
from plm_scaling.slurm.hosts import Hosts
from plm_scaling.slurm.journal import FILE, Journal, job_name
from plm_scaling.slurm.refusals import Held, Pauses, short, waits
from plm_scaling.slurm.states import JobState, states_from_accounting, states_of
from plm_scaling.slurm.submission import (
    RefusedError,
    comment_of,
    key_of,
    log_of,
    name_of,
    sbatch,
    script_of,
)

# A job that neither squeue nor accounting lists for so long has ended, however it did.
FORGOTTEN_SECONDS = 60.0
LOCKED_PAUSE_SECONDS = 60.0  # until a job whose files another run writes is submitted again
MAX_ARRAY_SIZE = 1000  # what the plugin takes where Slurm does not say; no job is an array
GONE, UNLISTED = JobState("unknown"), JobState("unlisted")


class StudyExecutor(SlurmExecutor):
    """Submits the jobs of one Snakemake, in the current folder."""

    logger: Any

    def __init__(self, workflow: Any, logger: Any) -> None:
        # The plugin's thread may look at these before its own constructor has ended.
        self.held: list[Held] = []
        self.said: set[str] = set()
        """Why jobs wait, once on the terminal until none waits."""
        self.pauses = Pauses(workflow.remote_execution_settings.seconds_between_status_checks)
        self.hosts = Hosts()
        self.journal = Journal(Path.cwd() / FILE)
        self.histories: dict[str, History] = {}
        self.watched: dict[str, float] = {}
        """Jobs of Slurm's that are waited for, and when each was last listed."""
        self.restarts: dict[str, int] = {}
        """How many times Slurm had queued each of them again, when it was last listed."""
        self.earlier = EarlierJobs()
        self.cancelled = False
        super().__init__(workflow, logger)

    def __post_init__(self, test_mode: bool = False) -> None:
        # The plugin would name a run that none of our jobs has, judge a command that we do not use,
        # and end where a site has no job arrays.
        speaks = self.logger
        self.logger = logging.getLogger(f"{__name__}.plugin")
        self.logger.setLevel(logging.ERROR)
        snakemake_executor_plugin_slurm.get_max_array_size = lambda: MAX_ARRAY_SIZE
        super().__post_init__(test_mode)
        self.logger = speaks
        if self.array_jobs:
            raise WorkflowError("plm-slurm-array-jobs: job arrays are not supported; leave it out")
        self.run_uuid = job_name(Path.cwd(), self.workflow.executor_settings.jobname_prefix)
        self.logger.info(f"Jobs of this folder are named {self.run_uuid}")
        self._look_for_earlier_jobs()

    def run_jobs(self, jobs: Sequence[JobExecutorInterface]) -> None:
        self._look_for_earlier_jobs()
        super().run_jobs(jobs)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit it, now or later; called in a thread of its own."""
        self._submit(job)

    def additional_general_args(self) -> str:
        """No other executor: in the step that a job's script starts, Snakemake runs it itself."""
        return ""

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report those that have ended, and submit what waits."""
        try:
            states = states_of(self.run_uuid) if active_jobs else {}
        except SlurmError:
            states = {}
            self.watched.update(dict.fromkeys(self.watched, time.time()))
        missing = [job.external_jobid for job in active_jobs if job.external_jobid not in states]
        states |= states_from_accounting(missing) if missing else {}
        for job in active_jobs:
            state = self._state(job.external_jobid, states)
            ended = state.ended or state is GONE
            try:
                (self._ended if ended else self._goes_on)(job, state)
            except OSError as error:  # of a shared file system: looked at again
                self.logger.warning(f"SLURM-job '{job.external_jobid}': {error}")
                ended = False
            if not ended:
                yield job
        self._submit_held()
        if hasattr(self, "run_uuid"):
            self._write_journal()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs that are waited for, those that are being looked at included."""
        self.cancelled = True
        self.held.clear()
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        super().cancel_jobs([SubmittedJobInfo(None, number) for number in self.watched])

    def shutdown(self) -> None:
        super().shutdown()
        self._write_journal()

    def _submit(self, job: JobExecutorInterface) -> None:
        """Adopt it, submit it or keep it for later."""
        if self.cancelled:
            return
        place = tuple(job.resources.get(k) for k in ("slurm_account", "slurm_partition", "qos"))
        try:
            self._adopt_or_submit(job, place)
        except Exception as error:  # the plugin's too: nobody waits for the thread that this is in
            text = str(error)
            if waits(text, others_queued=bool(self.watched)):
                self._hold(job, short(text), place)
                return
            if isinstance(error, RefusedError):
                text = f"SLURM sbatch failed. The error message was '{text}'.\n"
            no_more_attempts(job)
            if job.is_group():  # of which Snakemake leaves the message out
                self.logger.error(f"Job {job.jobid} cannot be submitted: {text}")
            self._report_job_error_threadsafe(SubmittedJobInfo(job), text)

    def _adopt_or_submit(self, job: JobExecutorInterface, place: Hashable) -> None:
        if found := self.earlier.find(job):
            number, alike = found
            if alike:
                self.earlier.take(number)
                self._watch(job, number, "is job {} of an earlier run, still there")
            else:
                self._wait_for(job, number)
        elif reason := self.pauses.reason(place):
            self.held.append(Held(job, reason, self.pauses.due(place), place))
        else:
            number = self._sbatch(job)
            self.pauses.accepted(place)
            self.restarts[number] = 0
            self._watch(job, number, "has been submitted with SLURM jobid {}")

    def _wait_for(self, job: JobExecutorInterface, number: str) -> None:
        """Keep it until a job with other settings has left the queue: until then that one writes
        the same files."""
        try:
            reason, told = self.earlier.stop(number)
        except SlurmError as error:  # and is tried again
            reason, told = BEING_CANCELLED, False
            self._say_once(f"Job {job.jobid}: job {number} with other settings goes on: {error}")
        if told:
            self.logger.warning(
                f"Job {job.jobid}: job {number} of an earlier run makes it with other settings or "
                "input, and is cancelled"
            )
        elif reason != BEING_CANCELLED:
            self._say_once(f"Job {job.jobid} waits to be submitted: {reason} (job {number})")
        self.held.append(Held(job, reason, time.time() + self.pauses.first_seconds))

    def _say_once(self, text: str, topic: str = "") -> None:
        """A warning, once on the terminal until no job waits, or once of all on this topic."""
        if (topic or text) not in self.said:
            self.said.add(topic or text)
            self.logger.warning(text)

    def _hold(self, job: JobExecutorInterface, reason: str, place: Hashable) -> None:
        self._say_once(f"Job {job.jobid} waits to be submitted: {reason}", topic=reason)
        if not self.pauses.reason(place):  # of several at a time the pause does not grow
            self.pauses.refused(place, reason)
        self.held.append(Held(job, reason, self.pauses.due(place), place))

    def _again(self, job: JobExecutorInterface) -> None:
        """Submit a job whose last start has ended, unless Slurm itself has queued it again."""
        self._look_for_earlier_jobs()
        self._submit(job)

    def _sbatch(self, job: JobExecutorInterface) -> str:
        """Submit it; its number."""
        history = self._history(job)
        log = log_of(job, "%j", self.slurm_logdir)
        log.parent.mkdir(parents=True, exist_ok=True)
        asked = {
            "run_uuid": self.run_uuid,
            "slurm_logfile": log,
            "comment_str": comment_of(job),
            "account": next(self.get_account_arg(job)),
            "partition": self.get_partition_arg(job),
            "workdir": self.workflow.workdir_init,
        }
        settings = self.workflow.executor_settings
        script = script_of(job, self.format_job_exec(job), settings.requeue)
        excluded = self.hosts.excluded | set(history.died_on)
        history.begin()
        return sbatch(job, asked, settings, script, excluded)

    def _watch(self, job: JobExecutorInterface, number: str, how: str) -> None:
        """Wait for a job of Slurm's, which came as `how` says."""
        log = log_of(job, number, self.slurm_logdir)
        self.watched[number] = time.time()
        self.logger.info(f"Job {job.jobid} {how.format(number)} (log: {log}).")
        info = SubmittedJobInfo(job, external_jobid=number, aux={"slurm_logfile": log})
        self._report_job_submission_threadsafe(info)

    def _submit_held(self) -> None:
        """Try what is due; a place that refuses once is not asked again in this round."""
        if not self.held:
            self.said.clear()
            return
        self._look_for_earlier_jobs()
        waiting, self.held = self.held, []
        for held in waiting:
            due = self.pauses.due(held.place) if held.place else held.due
            if due > time.time() or not self.earlier.known:
                held.due = due
                self.held.append(held)
            else:
                self._submit(held.job)

    def _look_for_earlier_jobs(self) -> None:
        self.earlier.look(self.run_uuid, self.watched)

    def _state(self, number: str, states: dict[str, JobState]) -> JobState:
        """Of a job that was submitted; one that is not listed may be so in a moment."""
        now = time.time()
        if number in states:
            self.watched[number] = now
            return states[number]
        forgotten = now - self.watched.get(number, now) > FORGOTTEN_SECONDS
        return GONE if forgotten else UNLISTED

    def _goes_on(self, info: SubmittedJobInfo, state: JobState) -> None:
        """Of a job that waits or runs; of one that Slurm has queued again a new start begins."""
        job, number = info.job, info.external_jobid
        if state is UNLISTED or state.state == "COMPLETING":  # whose old start still writes
            return
        if state.state == "PENDING" and number not in self.restarts:  # of an earlier run
            self._history(job).begin()
        if self._queued_again(job, number, state):
            self._history(job).begin()

    def _queued_again(self, job: JobExecutorInterface, number: str, state: JobState) -> bool:
        """Whether Slurm has queued the job again since it was last looked at, which is counted.

        It may have begun again since then, in the log that would have said why.
        """
        if state.restarts is None:
            return False
        times = state.restarts - self.restarts.setdefault(number, state.restarts)
        self.restarts[number] = state.restarts
        if not times:
            return False
        history = self._history(job)
        reason = stopped_because(history)
        if reason.startswith("signal") or (not reason and state.state == "PENDING"):
            reason = "preempted, requeued by hand, or the node failed"
        reason = reason or "not seen why"
        self._resumed(job, reason, times)
        self.logger.info(
            f"Slurm has queued job '{number}' again ({reason}); job {job.jobid} goes on "
            f"without an attempt, {many(history.resumed, 'time')} so far."
        )
        return True

    def _ended(self, info: SubmittedJobInfo, state: JobState) -> None:
        """Of a job that has ended: report it, or submit it again without an attempt."""
        job, number, log = info.job, info.external_jobid, info.aux["slurm_logfile"]
        history = self._history(job)
        made = all(Path(file).exists() for file in job.output)
        succeeded = state.state == "COMPLETED" or (state is GONE and made)
        end = ending("" if succeeded else state.state, log, history)
        self._queued_again(job, number, state)
        self.watched.pop(number, None)
        self.restarts.pop(number, None)
        self.pauses.ended()
        if history.run is not None and (succeeded or history.made_steps):
            history.died_on.clear()
            self.hosts.good(state.hosts)
        if succeeded:
            if not self.workflow.executor_settings.keep_successful_logs:
                log.unlink(missing_ok=True)
            self.report_job_success(info)
        elif end.then == "wait" and made:  # by the run that has the lock
            self.report_job_success(info)
        elif end.then == "wait":
            self.logger.info(f"Job {job.jobid} waits: {end.reason}")
            self.held.append(Held(job, end.reason, time.time() + LOCKED_PAUSE_SECONDS))
        elif end.then == "resume":
            self._resumed(job, end.reason)
            self.logger.info(
                f"SLURM-job '{number}' ended ({end.reason}); job {job.jobid} is resumed without an "
                f"attempt, {many(history.resumed, 'time')} so far."
            )
            self._again(job)
        elif end.then == "elsewhere":
            history.died_on.append(state.hosts)
            self.hosts.died(state.hosts, name_of(job))
            self.logger.warning(
                f"SLURM-job '{number}' died on {state.hosts} before its first step ({end.reason}; "
                f"log: {log}); job {job.jobid} is started on another host, "
                "without an attempt."
            )
            self._again(job)
        else:
            if end.then == "stop":
                no_more_attempts(job)
            self.report_job_error(
                info,
                msg=f"SLURM-job '{number}' failed, SLURM status is: '{state.state}'.",
                aux_logs=[str(log)],
            )

    def _resumed(self, job: JobExecutorInterface, reason: str, times: int = 1) -> None:
        history = self._history(job)
        history.resumed += times
        self.journal.resumed[name_of(job)] = (history.resumed, reason)

    def _history(self, job: JobExecutorInterface) -> History:
        key = key_of(job)
        if key not in self.histories:
            trains = not job.is_group() and job.rule.name == TRAINING
            run = Path(job.output[0]).parent if trains else None
            self.histories[key] = History(run, [] if job.is_group() else [*map(Path, job.log)])
        return self.histories[key]

    def _write_journal(self) -> None:
        self.journal.waiting = [(held.reason, held.due) for held in self.held]
        self.journal.died = self.hosts.dead
        self.journal.excluded = self.hosts.excluded
        self.journal.write()


def no_more_attempts(job: JobExecutorInterface) -> None:
    """Let Snakemake take all attempts of a job for used up: another one would end the same way."""
    job.attempt = job.restart_times + 1
