"""The configs of the project, as Snakemake passes them on."""

from pathlib import Path

import yaml

from plm_scaling.config.load import validate_config
from plm_scaling.config.schema import Config


def read_config(path: Path) -> Config:
    """A YAML file, validated."""
    return validate_config(yaml.safe_load(path.read_text()), str(path))
