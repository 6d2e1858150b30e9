"""What `plm-scaling data check` is given: files, folders, standard input, and a config."""

from collections.abc import Sequence
from pathlib import Path

from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.preflight.survey import Survey, survey
from plm_scaling.sources.addresses import SUFFIXES
from plm_scaling.sources.read.inputs import readable


def check_files(paths: Sequence[Path], config: Path | None) -> Survey:
    """Survey files, those in folders and standard input with the rules of a config, the full
    study's if none is given."""
    rules = read_config(config or FULL_STUDY)
    with readable(paths, *SUFFIXES) as files:
        return survey(
            files, rules.filter, rules.data.max_rejected_fraction, rules.split.valid_fraction
        )
