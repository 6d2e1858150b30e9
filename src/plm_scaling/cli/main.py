"""The `plm-scaling` command: each command is a typed function in a module here, one line below."""

import os
import signal
import sys

from cyclopts import App

from plm_scaling.cli import (
    benchmarks,
    compare,
    data,
    figures,
    generation,
    init,
    laws,
    models,
    planning,
    run,
    site,
    status,
    watch,
)
from plm_scaling.cli.version import version_text
from plm_scaling.common.command_line import OPTIONS, parse
from plm_scaling.common.errors import PlmScalingError, line_of
from plm_scaling.common.program import spare_the_collector, start_logging
from plm_scaling.common.progress import end_line

app = App(
    name="plm-scaling",
    help="""Scaling laws of protein language models.

    Example: plm-scaling plan --objective clm --gpus 8xA100 --days 14
    """,
    version=version_text,
    help_format="plaintext",
    default_parameter=OPTIONS,
)
app["--help"].group = app["--version"].group = "Options"

app.command(init.init)
app.command(run.run)
app.command(status.status)
app.command(watch.watch)
app.command(site.check_site)
app.command(laws.summary)
app.command(laws.fit)
app.command(figures.figures)
app.command(compare.compare)
app.command(planning.plan)
app.command(planning.design)
app.command(data.app, name="data")
app.command(models.export)
app.command(models.import_model, name="import")
app.command(models.score)
app.command(models.embed)
app.command(generation.generate)
app.command(generation.judge)
app.command(benchmarks.evaluate)
app.register_install_completion_command(
    group="Options", help="Complete words after Tab, from the next shell on (bash, zsh, fish)."
)

ADVICE = {"run": "see --help; options of Snakemake follow after --, as in -- --cores 4"}
CLOSED_PIPE = 128 + signal.SIGPIPE  # as the shell says of a program that ends so


def main() -> None:
    """Parse the command line; errors are one message and exit code 1.

    A reader that has enough (`| head`) ends the command without a word; Ctrl-C does, too
    (`common.program`).
    """
    spare_the_collector()
    call, asked = parse(app, sys.argv[1:], ADVICE)
    start_logging(None)
    try:
        try:
            call(*asked.args, **asked.kwargs)
        finally:
            end_line()
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        sys.exit(CLOSED_PIPE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich's, of a help that nobody reads
            sys.exit(CLOSED_PIPE)
        raise
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    except MemoryError as error:
        wanted = f" ({error})" if str(error) else ""  # only NumPy says what it asked for
        sys.exit(f"error: too little memory{wanted}; ask for less, or take a larger machine")
    except OSError as error:
        sys.exit(f"error: {line_of(error)}")


if __name__ == "__main__":
    main()
