"""`plm-scaling init`: the config of a study for one's own proteins and GPUs."""

import sys
from json import dumps
from pathlib import Path
from shlex import join
from typing import Annotated, Literal

from cyclopts import Parameter

Kind = Literal["clm", "mlm"]


def init(
    folder: Path,
    /,
    *,
    fasta: Annotated[list[Path], Parameter(consume_multiple=(1, None))],
    gpus: str,
    days: float | None = None,
    hours: float | None = None,
    objective: Annotated[list[Kind], Parameter(consume_multiple=True)] = ["clm", "mlm"],  # noqa: B006
    mix: Literal["uniref50", "uniref90", "colabfold_c", "colabfold_m"] | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """From your proteins, GPUs and time to the config of a study; what was chosen, and why.

    Example: plm-scaling init my-study --fasta a.faa.gz b.faa --gpus 8xA100 --days 14

    Args:
        folder: of the study, to be made with its config.yaml
        fasta: your proteins: files (plain, gzip, zstd or xz) and folders of them
        gpus: what trains, such as 8xA100; 2xCPU are two cores
        days: how long they train, or --hours
        hours: how long they train, or --days
        objective: clm (causal), mlm (masked) or both
        mix: a public set to train on beside them; it is downloaded when the study runs
        dry_run: write nothing
        json: what was chosen as JSON
    """
    from plm_scaling.init.make import make, write
    from plm_scaling.init.request import request_of
    from plm_scaling.init.screen import facts, screen

    objectives = objective or ["clm", "mlm"]
    command = join(["plm-scaling", *sys.argv[1:]])
    request = request_of(folder, fasta, gpus, days, hours, objectives, mix, command)
    made = make(request)
    if not dry_run:
        write(made)
    print(dumps(facts(made), indent=2) if json else screen(made, not dry_run))
