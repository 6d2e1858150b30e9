"""A Slurm for all tests of this folder, and a small study whose undisturbed result is known."""

import copy
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from slurm_cluster import Cluster, reason_why_not, wait_until
from workflows import Workflow, take, tiny_config, write_sources

SEQUENCES = 200  # per source
# FLOPs of cells that take seconds, half a minute, and more than the minute that is Slurm's shortest
# time limit.
SHORT, LONG, LONGEST = 4e8, 5e9, 1.3e10


@dataclass
class SlurmWorkflow(Workflow):
    """The workflow through Slurm, by the profile that users have, asking Slurm more often."""

    @classmethod
    def copy_of(cls, workflow: Workflow, folder: Path) -> "SlurmWorkflow":
        """What another folder holds, with modification times as they were."""
        shutil.copytree(workflow.folder, folder, dirs_exist_ok=True, symlinks=True)
        return cls(workflow.root, folder, copy.deepcopy(workflow.config))

    cell_resources: tuple[str, ...] = ("gpu=1", "mem_mb=1500", "runtime=5")

    def how(self) -> list[str | Path]:
        each = ("deduplicate", "split_clusters", "check_contamination")
        return [
            *("--profile", self.root / "profiles/slurm", "--max-threads", "2"),
            *("--slurm-status-command", "squeue", "--seconds-between-status-checks", "1"),
            *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
            *("--set-resources", *(f"{rule}:mem_mb=2000" for rule in each)),
            *(f"train_cell:{ask}" for ask in self.cell_resources),
        ]

    def cell(self, flops: float) -> str:
        """Name of the cell of these FLOPs."""
        sweep = pd.read_csv(self.results / "sweep.tsv", sep="\t")
        (cell,) = sweep.cell[sweep.flops_budget == flops]
        return str(cell)

    def forget(self, cell: str) -> None:
        """Remove this cell's run, and all tables and laws."""
        shutil.rmtree(self.results / "runs" / cell)
        for path in self.results.iterdir():
            if path.name not in ("runs", "sweep.tsv", "config.yaml"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def record(self, cell: str) -> dict:
        """Its result.json."""
        return json.loads((self.results / "runs" / cell / "result.json").read_text())

    def wait_for_checkpoint(self, cell: str, after: int = 0) -> int:
        """Wait until the cell has a checkpoint of a step beyond `after`; its step."""
        folder = self.results / "runs" / cell / "checkpoints"

        def newest() -> int:
            return max((int(path.name[5:]) for path in folder.glob("step-*")), default=0)

        wait_until(lambda: newest() > after, f"a checkpoint of {cell}", 120)
        return newest()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Two nodes, until the last test of this folder is done."""
    if why_not := reason_why_not():
        pytest.skip(why_not)
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def undisturbed(root, tmp_path_factory):
    """A study of four cells, run on this machine without Slurm."""
    folder = tmp_path_factory.mktemp("undisturbed")
    files = {}
    for name in ("uniref_demo", "metagenome_demo"):
        files[name] = folder / f"{name}.fasta.gz"
        take(root / f"resources/demo/{name}.fasta.gz", SEQUENCES, files[name])
    config = tiny_config(root, write_sources(folder, files))
    config["sweep"] |= {"objectives": ["clm"], "budgets_flops": [SHORT], "sizes": ["b", "c"]}
    cell = {"corpus": "demo", "recipe": "study", "objective": "clm", "size": "b"}
    config["sweep"]["extra"] = [cell | {"flops": LONG}, cell | {"flops": LONGEST}]
    config["training"]["checkpoint_seconds"] = 1
    config["laws"]["fits"] = ["isoflop"]  # others ask for more runs
    workflow = Workflow(root, folder, config)
    workflow.run()
    return workflow


@pytest.fixture
def disturbed(undisturbed, cluster, tmp_path, request):
    """A copy of the study in which a cell of LONG is to be trained again: (study, cell)."""
    workflow = SlurmWorkflow.copy_of(undisturbed, tmp_path)
    cell = workflow.cell(getattr(request, "param", LONG))
    workflow.forget(cell)
    yield workflow, cell
    end = time.monotonic() + 60
    while cluster.jobs("%A") and time.monotonic() < end:
        time.sleep(0.2)


def assert_same_tables(one: Workflow, other: Workflow) -> None:
    """Runs, evaluations, curves without what is measured, and laws are the same."""
    for name in ("runs.csv", "evaluations.csv", "sweep.tsv"):
        assert (one.results / name).read_text() == (other.results / name).read_text()
    measured = ["tokens_per_second"]
    curves = [pd.read_parquet(w.results / "curves.parquet") for w in (one, other)]
    curves = [table.drop(columns=measured, errors="ignore") for table in curves]
    pd.testing.assert_frame_equal(*curves, check_exact=True)
    laws = sorted(path.name for path in (one.results / "laws").iterdir())
    assert laws == sorted(path.name for path in (other.results / "laws").iterdir())
    for name in laws:
        first, second = (json.loads((w.results / "laws" / name).read_text()) for w in (one, other))
        assert first == second, name
