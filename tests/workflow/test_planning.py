"""Planning takes work in proportion to the cells: counted in calls and in files, not in time."""

import copy
import os
import pstats
import subprocess
import sys

import pytest
from workflows import Workflow, tiny_config

PROFILED = """
import cProfile, sys
from snakemake.cli import main
profile = cProfile.Profile()
try:
    profile.runcall(main, sys.argv[2:])
except SystemExit as end:
    assert end.code == 0, end.code
profile.dump_stats(sys.argv[1])
"""


class Plan:
    """A dry run of a study with so many seeds of its 16 cells."""

    def __init__(self, root, config, seeds, folder):
        workflow = Workflow(root, folder, copy.deepcopy(config))
        workflow.config["sweep"]["seeds"] = list(range(1, seeds + 1))
        self.cells = 16 * seeds
        command = [sys.executable, "-c", PROFILED, folder / "calls", "--dry-run"]
        command += ["--snakefile", root / "Snakefile", "--directory", folder]
        command += ["--configfile", workflow.write_config(), "--cores", "2", "--quiet"]
        env = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run([*map(str, command)], check=True, capture_output=True, env=env)
        self.stats = pstats.Stats(str(folder / "calls"))

    def calls(self, module, function):
        """How often a quiet dry run calls a function, of this package or another."""
        return sum(
            calls
            for (file, _, name), (_, calls, *_) in self.stats.stats.items()
            if name == function and file.endswith(f"/{module}.py")
        )


@pytest.fixture(scope="module")
def plans(root, tiny_sources, tmp_path_factory):
    """The plans of 16, 32 and 64 cells."""
    config = tiny_config(root, tiny_sources)
    return [Plan(root, config, n, tmp_path_factory.mktemp(f"seeds{n}")) for n in (1, 2, 4)]


def test_each_cell_depends_only_on_the_manifest(fresh):
    """A list of shards instead makes the plan of thousands of cells take several times as long."""
    jobs = fresh.run("--dry-run").stdout.split("rule train_cell:\n")[1:]
    assert len(jobs) == 16
    for job in jobs:
        assert job.startswith("    input: data/tiny/tokens/manifest.json\n")


def test_calls_grow_in_proportion_to_the_cells(plans):
    few, more, most = (plan.stats.total_calls for plan in plans)
    assert most - more == pytest.approx(2 * (more - few), rel=0.05)


def test_each_cell_is_computed_once(plans):
    for plan in plans:
        assert plan.calls("sweep/cells", "plan_cells") == 1
        assert plan.calls("study/cell", "_json") == plan.cells  # of its id, and of its parameter
        assert plan.calls("sweep/make", "make_cell") == 16  # for all seeds
        assert plan.calls("sweep/choose", "choose_layout") == 16
        assert plan.calls("sweep/launch", "resources") == 0  # until a job is to run


def test_signatures_of_functions_are_not_worked_out_for_each_cell(plans):
    few, more, most = (plan.calls("inspect", "_signature_from_function") for plan in plans)
    assert few == more == most
    assert plans[0].calls("inspect", "signature") > plans[0].cells  # Snakemake asks for them
