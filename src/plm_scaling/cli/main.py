"""The `plm-scaling` command: each command is a typed function in a module here, one line below."""

import sys

from cyclopts import App

from plm_scaling import __version__
from plm_scaling.cli import (
    benchmarks,
    data,
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
from plm_scaling.common.command_line import OPTIONS, parse
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.program import start_logging

app = App(
    name="plm-scaling",
    help="Scaling laws of protein language models.",
    version=__version__,
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


def main() -> None:
    """Parse the command line; errors are one message and exit code 1."""
    call, asked = parse(app, sys.argv[1:])
    start_logging(None)
    try:
        call(*asked.args, **asked.kwargs)
    except (PlmScalingError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
