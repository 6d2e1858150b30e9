"""Jobs in the queue that another Snakemake submitted: taken over, or waited for until they end."""

from collections.abc import Container

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from plm_scaling.common.errors import SlurmError
from plm_scaling.slurm.journal import WITH
from plm_scaling.slurm.states import cancel, own_jobs
from plm_scaling.slurm.submission import comment_of, key_of

BEING_CANCELLED = "a job of an earlier run with other settings is being cancelled"
NO_ANSWER = "Slurm does not answer"
OF_ANOTHER = "a job of another Snakemake here makes the same with other settings"


class EarlierJobs:
    """Those that go on in this folder, as they were when Slurm was asked last."""

    def __init__(self) -> None:
        self._jobs: dict[str, str] | None = {}
        self._at_start: set[str] | None = None
        """Those in the queue when this Snakemake started; None until Slurm has answered."""
        self._cancelled: set[str] = set()

    @property
    def known(self) -> bool:
        """Whether Slurm has answered."""
        return self._jobs is not None

    def look(self, name: str, own: Container[str]) -> None:
        """Ask for the jobs of this name; those in `own` are this Snakemake's."""
        try:
            jobs = own_jobs(name)
        except SlurmError:
            self._jobs = None
            return
        if self._at_start is None:
            self._at_start = set(jobs)
        self._jobs = {number: comment for number, comment in jobs.items() if number not in own}

    def find(self, job: JobExecutorInterface) -> tuple[str, bool] | None:
        """A job in the queue that makes the same output, and whether it can be taken for this one;
        it can if params and input are the same. One that cannot comes first: it may still write.

        Raises `SlurmError` while nothing is known."""
        jobs, key = self._jobs, key_of(job)
        if jobs is None:
            raise SlurmError(NO_ANSWER)
        found = {n: c for n, c in jobs.items() if c == key or c.startswith(key + WITH)}
        if not found:
            return None
        # Earlier versions submitted jobs by the key alone.
        alike = (key, comment_of(job))
        number = min(found, key=lambda number: found[number] in alike)
        return number, found[number] in alike

    def take(self, number: str) -> None:
        """It is this Snakemake's now."""
        if self._jobs is not None:
            self._jobs.pop(number, None)

    def stop(self, number: str) -> tuple[str, bool]:
        """Cancel a job whose result would be taken for that of other settings, unless that is done.

        Only one that was there at the start: a later one is of a Snakemake that runs beside this
        one, with --nolock, and would cancel ours in turn. Returns what is waited for, and whether
        Slurm was told just now. Raises `SlurmError` where it cannot be told.
        """
        if number not in (self._at_start or ()):
            return OF_ANOTHER, False
        if number in self._cancelled:
            return BEING_CANCELLED, False
        cancel(number)
        self._cancelled.add(number)
        return BEING_CANCELLED, True
