"""The task `generation` of the stage downstream, from files to scores."""

import json

import numpy as np
import pandas as pd
import pytest
from configs import read_config
from families import random_protein
from finished_runs import finished_run

from plm_scaling.common.errors import DownstreamError
from plm_scaling.config.downstream import Generation
from plm_scaling.downstream.evaluate import evaluate_model
from plm_scaling.downstream.generation import task
from plm_scaling.downstream.prepare import prepare_task
from plm_scaling.downstream.table import COLUMNS, Dataset

pytestmark = pytest.mark.usefixtures("quick_searches")
OF_ROW = {"dataset": "made", "task": "generation", "form": "fasta", "metric": "no_homologue"}
ROW = Dataset("made", "generation", "fasta", "", "no_homologue", ())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a prepared dataset, of 40 training and 15 held-out proteins."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(2)
    files = []
    for name, number in (("held_out", 15), ("train", 40)):
        text = "".join(f">{name}{i}\nM{random_protein(rng, 60)}\n" for i in range(number))
        files.append(folder / f"{name}.fasta")
        files[-1].write_text(text)
    with files[1].open("a") as file:
        file.write(">bad\nMK-\n")
    table = folder / "downstream.tsv"
    rows = [OF_ROW | {"path": file.name} for file in files]
    lines = [COLUMNS, *([row.get(name, "") for name in COLUMNS] for row in rows)]
    table.write_text("".join("\t".join(line) + "\n" for line in lines))
    prepare_task(table, "made", folder, folder / "prepared")
    return folder / "prepared"


def settings(root):
    own = read_config(root / "config/demo.yaml").downstream
    generation = Generation(number=12, temperature=0.5, top_p=0.9, max_length=40)
    return own.model_copy(update={"generation": generation})


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_cells_are_scored_by_what_they_make(root, prepared, tmp_path, objective):
    finished_run(tmp_path / "cell", objective)
    out = tmp_path / "made.parquet"
    evaluate_model(str(tmp_path / "cell"), prepared, settings(root), 3, 1, out)
    scores = {
        one["metric"]: one for one in json.loads(out.with_suffix(".json").read_text())["scores"]
    }
    table = pd.read_parquet(out)
    if objective == "mlm":
        assert scores["proteins"]["value"] is None
        assert "MLM" in scores["proteins"]["note"]
        assert table.empty
        return
    assert len(table) == 12
    assert table.sequence.str.len().max() <= 40
    assert table.sequence.str.startswith("M").all()  # drawn from the training sequences
    assert scores["ended"]["value"] == pytest.approx(table.ended.mean())
    assert scores["mean_length"]["value"] == pytest.approx(table.sequence.str.len().mean())
    assert scores["mean_length"]["floor"] == 61
    assert scores["no_homologue"]["value"] == 1
    assert scores["mean_length"]["reference"] == 61
    assert scores["mean_plddt"]["value"] is None


def test_items_are_counted(prepared):
    items = pd.read_parquet(prepared / "items.parquet")
    assert items.split.value_counts().to_dict() == {"train": 40, "test": 15}
    counts = pd.read_csv(prepared / "counts.tsv", sep="\t").set_index("reason").sequences
    assert counts.to_dict() == {"in": 56, "kept": 55, "illegal_character": 1}


def test_training_sequences_must_be_there(tmp_path):
    with pytest.raises(DownstreamError, match="give two files"):
        task.prepare([tmp_path / "one.fasta"], ROW, tmp_path)
