"""Our executor under Snakemake, in a folder, with commands of Slurm that answer by a script."""

import os
import subprocess
import sys
from contextlib import contextmanager

import scripted_slurm
from forked_snakemake import snakemake
from shell_cells import snakefile


class Study:
    """Snakemake in a folder, with its cells named on the command line."""

    def __init__(self, folder, slurm):
        self.folder, self.slurm = folder, slurm
        (folder / "Snakefile").write_text(snakefile("exit 1"))

    def unlock(self):
        """After a Snakemake that was killed."""
        snakemake([*self.words("a", "--unlock"), "setting=1"], self.folder)

    def words(self, cells, *more):
        how = ["--executor", "plm-slurm", "--plm-slurm-jobname-prefix", "plm", "--jobs", "10"]
        how += ["--keep-going", "--rerun-incomplete", "--latency-wait", "1", "--retries", "2"]
        how += ["--seconds-between-status-checks", "1", "--default-resources", "mem_mb=100"]
        how += ["--plm-slurm-requeue"]
        return [*more, *how, "--config", f"cells={' '.join(cells)}"]

    def run(self, *cells):
        code, out, error = snakemake(self.words(cells), self.folder)
        return code, out + error

    @contextmanager
    def running(self, cells, *config, more=(), output="output.txt"):
        """Snakemake, which ends with the block at the latest; its output is in `output`."""
        command = [sys.executable, "-m", "snakemake", *self.words(cells, *more), *config]
        with (self.folder / output).open("w") as out:
            process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def output(self):
        return (self.folder / "output.txt").read_text()


def scripted(folder, environment):
    """A study in `folder`, and commands of Slurm that are found first."""
    slurm = scripted_slurm.install(folder / "bin")
    environment.setenv("PATH", f"{slurm.folder}{os.pathsep}{os.environ['PATH']}")
    (folder / "study").mkdir()
    return Study(folder / "study", slurm)
