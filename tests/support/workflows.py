"""A working folder, a config of the smallest useful size, and Snakemake to run it."""

import copy
import gzip
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from forked_snakemake import snakemake
from source_tables import local_row, write_table

SEQUENCES = 400  # per source
TARGETS = {
    *("all", "download", "data", "plan", "train", "next_stage", "laws", "downstream", "report"),
    *("published", "total"),
}


@dataclass
class Workflow:
    """A folder with a config, in which Snakemake runs the repository's workflow."""

    root: Path
    folder: Path
    config: dict
    module = "snakemake.cli"  # whose `main` is Snakemake

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.config["study"]

    @property
    def data(self) -> Path:
        return self.folder / "data" / self.config["data"]["name"]

    def write_config(self) -> Path:
        """The config as a file, which Snakemake is given."""
        path, text = self.folder / "config.yaml", yaml.safe_dump(self.config)
        if not path.is_file() or path.read_text() != text:  # others may be reading it
            path.write_text(text)
        return path

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake; with `check`, a failure shows its output."""
        words = self.words(arguments)
        code, stdout, stderr = snakemake(words, self.folder, self.module)
        assert code == 0 or not check, stdout + stderr
        return subprocess.CompletedProcess(words, code, stdout, stderr)

    def words(self, arguments: Iterable[str | Path]) -> list[str]:
        """The words of Snakemake's command line."""
        words = [*arguments, *self.how(), "--snakefile", self.root / "Snakefile"]
        words += ["--directory", self.folder, "--configfile", self.write_config()]
        return [*map(str, words)]

    def how(self) -> list[str | Path]:
        """Options that say where jobs run."""
        return ["--cores", "2", "--rerun-triggers", "mtime", "params", "input", "code"]

    def planned(self, *targets: str) -> dict[str, int]:
        """Jobs by rule that a run would do now; targets are not counted."""
        return self.plan(*targets)[0]

    def plan(self, *targets: str) -> tuple[dict[str, int], str]:
        """The same, and what Snakemake says of the jobs."""
        done = self.run("--dry-run", *targets)
        output = done.stdout + done.stderr
        return _jobs(output.splitlines()), output


def _jobs(lines: list[str]) -> dict[str, int]:
    """Jobs by rule out of what Snakemake says, without targets."""
    if not any(line.startswith("Job stats:") for line in lines):
        return {}
    start = next(i for i, line in enumerate(lines) if line.startswith("Job stats:")) + 3
    jobs = {}
    for line in lines[start:]:
        if not line.strip():
            break
        rule, count = line.split()
        jobs[rule] = int(count)
    return {rule: count for rule, count in jobs.items() if rule not in TARGETS}


def copy_of(workflow: Workflow, folder: Path) -> Workflow:
    """A copy that may be changed, with modification times as they were."""
    shutil.copytree(workflow.folder, folder, dirs_exist_ok=True, symlinks=True)
    return Workflow(workflow.root, folder, copy.deepcopy(workflow.config))


def checkout(root: Path, folder: Path) -> Path:
    """What of the repository a workflow needs, as a fresh clone has it: times are new."""
    for name in ("rules", "scripts", "src", "config", "envs", "profiles", "resources"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(root / name, folder / name, ignore=ignored, copy_function=shutil.copyfile)
    for name in ("Snakefile", "config.yaml"):
        shutil.copyfile(root / name, folder / name)
    return folder


def raised(finished: Workflow, stage: str, folder: Path) -> Workflow:
    """The workflow from a checkout in which a stage's version is another."""
    root = checkout(finished.root, folder)
    package = root / "src/plm_scaling" / stage / "__init__.py"
    lines = package.read_text().splitlines(keepends=True)
    (at,) = [i for i, line in enumerate(lines) if line.startswith("STAGE_VERSION = ")]
    lines[at] = "STAGE_VERSION = 77\n"
    package.write_text("".join(lines))
    return Workflow(root, finished.folder, finished.config)


def take(source: Path, n: int, out: Path, skip: int = 0) -> None:
    """The first n records of a FASTA file after `skip`, gzipped."""
    records = gzip.decompress(source.read_bytes()).split(b">")[1 + skip : 1 + skip + n]
    out.write_bytes(gzip.compress(b"".join(b">" + record for record in records), mtime=0))


def write_sources(folder: Path, files: dict[str, Path]) -> Path:
    """A source table whose sources are local files."""
    rows = [local_row(name, path) for name, path in files.items()]
    return write_table(folder / "resources" / "sources.tsv", *rows)


def tiny_config(root: Path, sources: Path) -> dict:
    """The demo's config with cells that train in a second."""
    config = yaml.safe_load((root / "config/demo.yaml").read_text())
    config["study"] = "tiny"
    config["data"] |= {"name": "tiny", "sources": str(sources)}
    config["split"]["check_sensitivity"] = 4
    config["split"] |= {"valid_fraction": 0.1, "reference_fraction": 0.2}
    config["tokens"]["context_length"] = 64
    config["sweep"] |= {
        "objectives": ["clm", "mlm"],
        "budgets_flops": [4e8, 8e8],
        "sizes": ["a", "b", "c", "d"],
        "shapes": {
            "a": {"layers": 1, "hidden": 8, "ffn": 21, "heads": 1},
            "b": {"layers": 1, "hidden": 12, "ffn": 32, "heads": 1},
            "c": {"layers": 1, "hidden": 16, "ffn": 42, "heads": 1},
            "d": {"layers": 1, "hidden": 24, "ffn": 64, "heads": 1},
        },
        "tokens_per_parameter": [0.1, 10000],
        "stages": [],
    }
    config["training"] |= {"evaluations": 3, "valid_rows": 32}
    config["training"]["batch_tokens"] = [{"from_parameters": 0, "value": 256}]
    config["laws"]["bootstrap"] = 100
    return config
