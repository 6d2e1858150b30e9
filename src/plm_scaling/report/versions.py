"""The software and the config that made the page."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from plm_scaling import __version__
from plm_scaling.common.files import read_json, sha256_of

PACKAGES = ("torch", "megatron-core", "snakemake", "numpy", "scipy", "pyarrow", "matplotlib")


def software_versions(config: Path | None, tool: Path | None) -> dict[str, str]:
    """Versions by name, in this environment; `tool` is a JSON file of those of other tools."""
    found = {"plm-scaling": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed here"
    if tool is not None:
        found |= {name: str(value) for name, value in read_json(tool).items()}
    if config is not None:
        found[f"SHA-256 of {config}"] = sha256_of(config)
    return found
