"""Snakemake as `plm-scaling run` and `make demo` start it: Ctrl-C before its first job is one line,
exit code 130, and that a profile is used, as the command says, is not said again.

A file to be run and not imported: the library of the run is that of the Snakefile's repository.
"""

import signal
import sys
from typing import Any


def say(*words: Any, **how: Any) -> None:
    """Print, unless it is of the profile: Snakemake has no option that leaves that line out."""
    if not str(words[0] if words else "").startswith("Using profile"):
        print(*words, **how)


if __name__ == "__main__":
    try:
        # Who starts it blocks the signal, so that none is lost on Python between here and there.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        from snakemake import cli

        vars(cli)["print"] = say
        sys.argv[0] = "snakemake"  # the name under which it says how it is used
        cli.main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the second of an impatient user
        print("stopped; the same command continues from here", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
