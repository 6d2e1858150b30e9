"""`plm-scaling --version`."""

import subprocess
from pathlib import Path

from plm_scaling import __version__

ROOT = Path(__file__).parents[3]


def version_text() -> str:
    """The version; in a clone also the commit, with `-dirty` if files have changed since."""
    if not (ROOT / ".git").exists():
        return __version__
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    try:
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or another user's clone
        return __version__
    return f"{__version__} (commit {asked.stdout.strip()})"
