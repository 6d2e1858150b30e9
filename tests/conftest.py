"""Shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings
from published import published

__all__ = ["published"]  # a fixture

settings.register_profile("shared", deadline=None)  # machines are shared; no test times code
settings.load_profile("shared")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files stay together on one process, as do all tests that share the finished pipeline.

    The pipeline's tests take longest and begin first.
    """
    for item in items:
        shares = "finished" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("finished" if shares else str(item.path)))
    items.sort(key=lambda item: "finished" not in getattr(item, "fixturenames", ()))
