"""`plm-scaling --version`."""

from pathlib import Path

from plm_scaling import __version__
from plm_scaling.common.commit import commit_of

ROOT = Path(__file__).parents[3]


def version_text() -> str:
    """The version; in a clone also the commit."""
    commit = commit_of(ROOT)
    return f"{__version__} (commit {commit})" if commit else __version__
