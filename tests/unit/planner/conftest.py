"""Law files of runs from a known surface, for all tests of the planner."""

import pytest
from planted_laws import write_laws


@pytest.fixture(scope="session")
def laws(tmp_path_factory):
    """Folder of the isoflop and the repeated law; `parametric` in it holds a parametric one."""
    return write_laws(tmp_path_factory.mktemp("laws"))
