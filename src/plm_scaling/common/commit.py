"""The commit of a clone."""

import subprocess
from pathlib import Path


def commit_of(root: Path) -> str:
    """Of the clone at `root`, with `-dirty` if files have changed since; '' where there is none, or
    no git."""
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    try:
        asked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or another user's clone
        return ""
    return asked.stdout.strip()
