"""What `plm-scaling data check` is given: files, folders, standard input, and a config."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.preflight.survey import Survey, survey

STDIN = "-"


def check_files(paths: Sequence[Path], config: Path | None) -> Survey:
    """Survey files, those in folders and standard input (kept on disk meanwhile, to look at its
    first bytes) with the rules of a config, the full study's if none is given."""
    rules = read_config(config or FULL_STUDY)
    with tempfile.NamedTemporaryFile(prefix="plm-scaling-check-") as spool:
        piped = Path(spool.name)
        if Path(STDIN) in paths:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
        found = survey(
            [piped if path == Path(STDIN) else path for path in _files(paths)],
            rules.filter,
            rules.data.max_rejected_fraction,
            rules.split.valid_fraction,
        )
        for one in found.files:
            if one.path == str(piped):
                one.path = "standard input"
    return found


def _files(paths: Sequence[Path]) -> list[Path]:
    return [
        file
        for path in paths
        for file in (sorted(f for f in path.iterdir() if f.is_file()) if path.is_dir() else [path])
    ]
