"""One exception class per area.

Every message says what is wrong, where (file, record, key or line) and what to do. Programs print
only the message and exit with 1; the traceback goes to the log (see `plm_scaling.common.program`).
"""

import errno
import os

PERMISSION = "change its permissions, or give another place"
_SPACE = "free some space, or give a place on another disk"
REMEDIES = {
    errno.ENOENT: "correct the path",
    errno.ENOTDIR: "correct the path, a part of which is a file",
    errno.EISDIR: "give a file",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: "give a place that can be written to",
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def line_of(error: OSError) -> str:
    """An error of the system in a line: the file, if it names one, what is wrong, what to do."""
    if error.errno is None and isinstance(error, FileNotFoundError):  # as pandas raises it
        return f"{error}: {os.strerror(errno.ENOENT)}; {REMEDIES[errno.ENOENT]}"
    if error.errno is None:
        return str(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    remedy = REMEDIES.get(error.errno)
    return (
        f"{' to '.join(names)}{': ' * bool(names)}{error.strerror}{f'; {remedy}' if remedy else ''}"
    )


class PlmScalingError(Exception):
    """Base of every error that a user can fix."""


class LockError(PlmScalingError):
    """Another process writes the same files, or nothing can be written there."""


class SchedulerError(PlmScalingError):
    """A job cannot be submitted as asked."""


class ConfigError(PlmScalingError):
    """The config does not follow the schema."""


class SourceError(PlmScalingError):
    """A source table, download or FASTA file is unusable."""


class DedupError(PlmScalingError):
    """MMseqs2 is missing, of another version or failed; or the split is contaminated."""


class FilterError(PlmScalingError):
    """Scoring or selection cannot be done as asked."""


class TokenError(PlmScalingError):
    """A token shard or manifest is damaged or does not fit."""


class SweepError(PlmScalingError):
    """A cell of the sweep cannot be planned as asked, or the table of the sweep is unusable."""


class TrainError(PlmScalingError):
    """A cell cannot be trained or resumed as asked."""


class ProcessError(TrainError):
    """The processes of a cell failed, or never met, not by the cell's fault: another start or host
    may do."""


class SlurmError(PlmScalingError):
    """A command of Slurm's fails or does not answer."""


class RunsError(PlmScalingError):
    """A run record or table is missing or malformed."""


class WatchError(PlmScalingError):
    """A study cannot be watched as asked."""


class LawError(PlmScalingError):
    """A law cannot be fitted to the given runs."""


class InferenceError(PlmScalingError):
    """A trained cell cannot be scored with, exported or used otherwise as asked."""


class DownstreamError(PlmScalingError):
    """A benchmark's files, or what a model is asked to do with them, are unusable."""
