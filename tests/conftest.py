"""Shared by all tests."""

import gc
import os
import signal
from pathlib import Path

# Tests run side by side on all cores: one thread each, also in the programs that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from browser import chromium
from hypothesis import settings
from pipeline import finished, tiny_sources
from published import imported, published
from quick_mmseqs import quick_searches
from xdist.scheduler import LoadFileScheduling

__all__ = ["chromium", "finished", "imported", "published", "quick_searches", "tiny_sources"]

settings.register_profile("shared", deadline=None)  # machines are shared; no test times code
settings.load_profile("shared")

# A shell may have its background ignore interrupts, which programs that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(autouse=True)
def no_slurm_of_other_tests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dry runs and `status` ask Slurm, and the tests' own may run beside this test."""
    if "cluster" not in request.fixturenames:
        monkeypatch.setenv("SLURM_CONF", os.devnull)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """No bytes in the names of tests: those of a gzip file hold the time."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first: Slurm, whole pipelines, files with slow tests."""
    folders = ["slurm", "workflow"]
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.parent.name
        return (*folders, folder).index(folder), item.path not in slow

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What the modules have made stays: each collection of garbage would look at it for half a
    second, and each fork copy it."""
    gc.collect()
    gc.freeze()


class ByFile(LoadFileScheduling):
    """Files of tests side by side. Those with Slurm are one: there is one /etc/slurm, and a process
    that waits for another's Slurm would run no other test meanwhile."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/slurm" if file.startswith("tests/slurm/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile | None:
    """Of `--dist loadfile`."""
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None
