"""Pieces of public benchmarks that lie beside the repository and are not part of it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT.parent / "shared/data/downstream"


def benchmark_or_skip(name: str) -> Path:
    """A file of them; skips the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not in {FOLDER.relative_to(ROOT.parent)}")
    return path
