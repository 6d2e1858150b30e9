"""Shared by all tests."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings
from published import published

__all__ = ["published"]  # a fixture

settings.register_profile("shared", deadline=None)  # machines are shared; no test times code
settings.load_profile("shared")

# A shell may have its background ignore interrupts, which programs that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, Slurm and whole pipelines; the others fill up what is left."""
    longest = ["slurm", "workflow"]
    items.sort(key=lambda item: (*longest, item.path.parent.name).index(item.path.parent.name))
