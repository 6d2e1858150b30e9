"""What cannot be in the names of a run whose jobs are submitted to a scheduler."""

from collections.abc import Iterable
from pathlib import Path

from plm_scaling.common.errors import ConfigError

READ_BY_SHELLS = "$`\\"


def check_submission(words: Iterable[str | Path]) -> None:
    """Raise `ConfigError` naming the first word that a shell would not take as it is.

    Folders, config files and the values of --config are in the command of every job, which shells
    read where it is submitted and where it runs. Executors (the Slurm plugin 2.8.0 for one) hand it
    to them between double quotes, where what `$(…)` holds is run.
    """
    for word in map(str, words):
        if found := [character for character in READ_BY_SHELLS if character in word]:
            raise ConfigError(
                f"{word!r} has {' '.join(found)}, which a shell would read on submission; rename "
                "it, or give the value in a config file"
            )
