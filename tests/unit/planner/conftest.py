"""Law files of runs from a known surface, for all tests of the planner."""

import json
import shutil

import pytest
from planted_laws import write_laws


@pytest.fixture(scope="session")
def laws(tmp_path_factory):
    """Folder of the isoflop and the repeated law; `parametric` in it holds a parametric one."""
    return write_laws(tmp_path_factory.mktemp("laws"))


@pytest.fixture
def penalty(laws, tmp_path):
    """A folder whose law of repeats adds 0.004·R^1.5 to the loss."""
    shutil.copy(laws / "parametric/clm.parametric.json", tmp_path)
    law = json.loads((laws / "clm.repeated.json").read_text()) | {"form": "penalty"}
    law["equations"]["excess"] |= {"c": 0.004, "kappa": 1.5, "interval": {"c": [0.002, 0.006]}}
    law["equations"]["excess"]["interval"]["kappa"] = [1.4, 1.6]
    law["equations"]["D_eff"] |= {"R_D": None, "interval": {"R_D": None}}
    (tmp_path / "clm.repeated.json").write_text(json.dumps(law | {"status": "converged"}))
    return tmp_path
