"""What `plm-scaling data check` is given: files, folders, standard input, and a config."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.preflight.survey import Survey, survey
from plm_scaling.sources.read.inputs import fasta_files
from plm_scaling.sources.read.streams import STDIN


def check_files(paths: Sequence[Path], config: Path | None) -> Survey:
    """Survey files, those in folders and standard input (kept on disk meanwhile, to look at its
    first bytes) with the rules of a config, the full study's if none is given."""
    files = fasta_files(paths)
    rules = read_config(config or FULL_STUDY)
    with tempfile.NamedTemporaryFile(prefix="plm-scaling-check-") as spool:
        piped = Path(spool.name)
        if STDIN in files:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
        found = survey(
            [piped if path == STDIN else path for path in files],
            rules.filter,
            rules.data.max_rejected_fraction,
            rules.split.valid_fraction,
        )
        for one in found.files:
            if one.path == str(piped):
                one.path = "standard input"
    return found
