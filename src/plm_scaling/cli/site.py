"""`plm-scaling check-site`: what a Slurm cluster offers to a study."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import Json, ends_in, print_json
from plm_scaling.common.files import atomic


def check_site(
    *,
    partition: list[str] = [],  # noqa: B006
    account: str = "",
    wait: float = 10.0,
    out: Annotated[Path | None, Parameter(validator=ends_in(".yaml", ".yml"))] = None,
    json: Json = False,
) -> None:
    """What of a Slurm cluster matters for a study, and the block for its profile.

    Asks Slurm, and runs a job of seconds in each partition.

    Example: plm-scaling check-site --partition cpu --partition gpu --out site-profile.yaml

    Args:
        partition: partitions to try (default: all)
        account: the Slurm account of the jobs (default: yours)
        wait: minutes to wait for a job to start
        out: also write the block to this file (YAML)
    """
    from plm_scaling.slurm.check_site import check_site
    from plm_scaling.slurm.check_site_text import profile_text, site_text

    site = check_site(partition, account, wait)
    block = profile_text(site)
    if json:
        print_json(asdict(site) | {"profile": block})
    else:
        print(f"{site_text(site)}\n\nFor profiles/slurm/config.yaml:\n\n{block}", end="")
    if out is not None:
        with atomic(out) as part:
            part.write_text(block)
