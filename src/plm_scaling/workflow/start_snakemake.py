"""Snakemake as `plm-scaling run` starts it: Ctrl-C before its first job is one line, exit code 130.

A file to be run and not imported: the library of the run is that of the Snakefile's repository.
"""

import signal
import sys

if __name__ == "__main__":
    try:
        # Who starts it blocks the signal, so that none is lost on Python between here and there.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        from snakemake.cli import main

        sys.argv[0] = "snakemake"  # the name under which it says how it is used
        main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the second of an impatient user
        print("stopped; the same command continues from here", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
