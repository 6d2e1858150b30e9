"""A study from a config of a few lines: its files are its corpus, the rest has defaults."""

import json

import pytest
import yaml
from workflows import Workflow, take

pytestmark = pytest.mark.slow

SHORT = """
study: short
corpora:
  mine: {path: [one.faa.gz, two.faa.gz]}
tokens: {context_length: 64}
split: {valid_fraction: 0.1, check_sensitivity: 5.7}
sweep:
  objectives: [clm]
  budgets_flops: [4e8]
  sizes: [a]
  shapes: {a: {layers: 1, hidden: 16, ffn: 42, heads: 1}}
training:
  batch_tokens: [{from_parameters: 0, value: 256}]
  evaluations: 2
  divergence_loss: 9  # a cell of so few steps has learnt little
machine: {backend: cpu, threads: 1}
"""


def errors(done):
    """What the terminal shows of a run that fails, without what it says of jobs."""
    text = done.stdout + done.stderr
    for noise in ("Traceback", "RuleException", "Logfile ", "Error in rule", "WorkflowError"):
        assert noise not in text
    return [line for line in text.splitlines() if line.startswith("error: ")]


def test_short_config_is_a_study(root, tmp_path):
    config = yaml.safe_load(SHORT)
    for number, name in enumerate(("one", "two")):
        files = root / "resources/demo/uniref_demo.fasta.gz", tmp_path / f"{name}.faa.gz"
        take(files[0], 200, files[1], skip=200 * number)
    workflow = Workflow(root, tmp_path, config | {"data": {"name": "short", "parts": 1}})

    # More than the files could give under any circumstances: no job begins.
    config["training"]["valid_rows"] = 10**6
    done = workflow.run("train", check=False)
    (error,) = errors(done)
    assert error.startswith("error: training.valid_rows: 1000000 held-out rows are asked for, ")
    assert "give at most" in error
    assert not (tmp_path / "data").exists()

    # More than they do give, which is known when the tokens are made: no cell begins.
    config["training"]["valid_rows"] = 500
    done = workflow.run("train", check=False)
    assert "keys have their defaults" in done.stderr
    (error,) = errors(done)
    manifest = json.loads((workflow.data / "tokens/manifest.json").read_text())
    strata = manifest["splits"]["valid"]["sources"]["mine"]["strata"]
    rows = sum(shard["rows"] for entry in strata.values() for shard in entry["shards"])
    assert f"the data give {rows}; give training.valid_rows: {rows}" in error
    assert not list((tmp_path / "logs/short").glob("train/*"))

    # The tokens are there already.
    (again,) = errors(workflow.run("train", check=False))
    assert again == error

    config["training"]["valid_rows"] = rows
    workflow.run("train")
    (record,) = workflow.results.glob("runs/*/result.json")
    assert json.loads(record.read_text())["status"] == "finished"
    workflow.run("results/short/config.yaml")
    whole = yaml.safe_load((workflow.results / "config.yaml").read_text())
    assert whole["data"]["sources"] == {"mine": {"path": ["one.faa.gz", "two.faa.gz"]}}
    assert whole["sweep"]["corpora"] == ["mine"]
    assert whole["laws"]["bootstrap"] == 4000


def test_job_that_fails_is_one_line_on_the_terminal(root, tmp_path):
    (tmp_path / "one.faa").write_text(">a\n" + "MKVLA" * 2000 + "\n>b\nMK!\n")
    config = yaml.safe_load(SHORT)
    config["corpora"]["mine"]["path"] = "one.faa"
    config["training"]["valid_rows"] = 1
    workflow = Workflow(root, tmp_path, config | {"data": {"name": "short", "parts": 1}})
    done = workflow.run("data", check=False)
    (error,) = errors(done)
    assert "1 of 2 records cannot be used" in error
    line = "clean_source (data/short/clean/mine/counts.tsv) failed; logs/short/clean/mine.log"
    assert line in done.stderr
    assert "command: " not in done.stderr
