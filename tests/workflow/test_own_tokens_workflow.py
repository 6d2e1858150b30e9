"""The workflow trains on the shards of `plm-scaling data tokenize`, without its data stages."""

from pathlib import Path

import pytest
from workflows import Workflow, take, tiny_config, write_sources

from plm_scaling.tokens.write.fasta import tokenize_fasta

pytestmark = pytest.mark.slow


def test_train_wants_nothing_but_the_shards(root: Path, tmp_path: Path) -> None:
    fasta, held_out = tmp_path / "mine.fasta.gz", tmp_path / "held-out.fasta.gz"
    demo = root / "resources/demo/uniref_demo.fasta.gz"
    take(demo, 100, fasta)
    take(demo, 20, held_out, skip=100)
    config = tiny_config(root, write_sources(tmp_path, {"mine": fasta}))
    config["filter"]["reference_source"] = "mine"
    config["corpora"]["demo"]["mixture"] = {"mine": 1.0}
    workflow = Workflow(root, tmp_path, config)
    context_length = config["tokens"]["context_length"]
    out = workflow.data / "tokens"
    tokenize_fasta([fasta], [held_out], "mine", "mine", context_length, 1000, out)
    assert workflow.planned("train") == {"plan_sweep": 1, "train_cell": 16}
