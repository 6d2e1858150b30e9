"""A small study through the Slurm of the tests, and how its results are compared."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from slurm_cluster import PATIENCE, Cluster, wait_until
from workflows import Workflow

from plm_scaling.train.output.curve import MEASURED
from plm_scaling.train.output.starts import read_starts

SHORT, LONG = 4e8, 1e10  # FLOPs of cells that take a second, and ten or more


@dataclass
class SlurmWorkflow(Workflow):
    """The workflow through Slurm, by the profile that users have, asking Slurm more often."""

    @classmethod
    def copy_of(cls, workflow: Workflow, folder: Path) -> "SlurmWorkflow":
        """What another folder holds, with modification times as they were."""
        shutil.copytree(workflow.folder, folder, dirs_exist_ok=True, symlinks=True)
        return cls(workflow.root, folder, copy.deepcopy(workflow.config))

    cell_resources: tuple[str, ...] = ("gpu=1", "mem_mb=1500", "runtime=60")
    process: subprocess.Popen[str] | None = None  # what was begun last

    def how(self) -> list[str | Path]:
        each = ("deduplicate", "split_clusters", "check_contamination", "train_reference")
        parts = ("pool_part", "score_part", "tokenize_part", "select_sequences")
        return [
            *("--profile", self.root / "profiles/slurm", "--max-threads", "2"),
            *("--seconds-between-status-checks", "1"),
            *("--latency-wait", "5"),
            *("--set-resources", *(f"{rule}:mem_mb=2000" for rule in each)),
            *(f"{rule}:mem_mb=1500" for rule in parts),  # several at once on these nodes
            *(f"train_cell:{ask}" for ask in self.cell_resources),
        ]

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Snakemake, running, with its output in a file: a pipe that nobody reads would fill up."""
        return self._begin("snakemake", *self.words(arguments))

    def begin_as_users_do(self, *targets: str) -> subprocess.Popen[str]:
        """The same by `plm-scaling run`."""
        self.write_config()
        profile, *options = self.how()[1:]
        how = ["--profile", profile, "--workflow", self.root, "--", *options]
        return self._begin("plm_scaling.cli.main", "run", self.folder, *targets, *how)

    def _begin(self, module: str, *words: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, *map(str, words)]
        with self.folder.joinpath("output.txt").open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, text=True, cwd=self.folder
            )
        return self.process

    @property
    def output(self) -> str:
        """What the Snakemake that was begun last has said so far."""
        return self.folder.joinpath("output.txt").read_text()

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for what was begun; its exit code and output."""
        return process.wait(timeout=PATIENCE), self.output

    def cell(self, flops: float) -> str:
        """Name of the cell of size b and these FLOPs."""
        sweep = pd.read_csv(self.results / "sweep.tsv", sep="\t")
        (cell,) = sweep.cell[(sweep.flops_budget == flops) & (sweep["size"] == "b")]
        return str(cell)

    def result_of(self, cell: str) -> str:
        """What Snakemake is asked for to have this cell trained, and nothing after it."""
        return f"results/tiny/runs/{cell}/result.json"

    def forget(self, cell: str) -> None:
        """Remove this cell's run, and all tables and laws."""
        shutil.rmtree(self.results / "runs" / cell)
        forget_tables(self)

    def record(self, cell: str) -> dict:
        """Its result.json."""
        return json.loads((self.results / "runs" / cell / "result.json").read_text())

    def status(self) -> str:
        """What `plm-scaling status` says."""
        command = [sys.executable, "-m", "plm_scaling.cli.main", "status"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def wait_for_checkpoint(self, cell: str, start: int = 1) -> int:
        """Wait until the cell's `start`-th start has saved a checkpoint; its step."""
        run = self.results / "runs" / cell

        def newest() -> int:
            return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=0)

        def saved() -> bool:
            path = run / "starts.json"
            starts = read_starts(path) if path.exists() else []
            return len(starts) == start and newest() > starts[-1]["step"]

        wait_until(saved, f"a checkpoint of start {start} of {cell}", self.process)
        return newest()


def forget_tables(workflow: Workflow) -> None:
    """Remove all results but the cells' runs and what they were planned by."""
    for path in workflow.results.iterdir():
        if path.name not in ("runs", "sweep.tsv", "config.yaml"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def job_of(cluster: Cluster, cell: str) -> tuple[str, str]:
    """Number and node of the job that trains a cell; waits for it."""

    def lines() -> list[str]:
        return [line for line in cluster.jobs("%A %T %N %k") if cell in line and "RUN" in line]

    wait_until(lambda: bool(lines()), f"a running job of {cell}")
    number, _, node, _ = lines()[0].split(maxsplit=3)
    return number, node


def assert_same_run(one: Workflow, other: Workflow, cell: str) -> None:
    """The cell has the same curve without what is measured, and the same record of its losses."""
    folders = [workflow.results / "runs" / cell for workflow in (one, other)]
    curves = [pd.read_csv(folder / "curve.csv").drop(columns=[*MEASURED]) for folder in folders]
    pd.testing.assert_frame_equal(*curves, check_exact=True)
    records = [json.loads((folder / "result.json").read_text()) for folder in folders]
    for name in ("status", "loss", "held_out_losses", "held_out_tokens", "tokens", "unique_tokens"):
        assert records[0][name] == records[1][name], name


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
