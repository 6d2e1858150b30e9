"""Proteins that models of a study make, judged against the study's own data."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from families import mutate, random_protein
from finished_runs import finished_run
from pools import make_pool, sequences_in
from stages import RESOURCES, dedup, split

from plm_scaling.common.errors import InferenceError
from plm_scaling.config.downstream import Drawn
from plm_scaling.downstream.generation.by_models.perplexity import nats_by
from plm_scaling.downstream.generation.judge import Judge
from plm_scaling.downstream.generation.known.files import Files
from plm_scaling.downstream.generation.known.study import StudyData
from plm_scaling.downstream.generation.task import (
    generate_proteins,
    judge_proteins,
    measure_proteins,
)
from plm_scaling.downstream.models import is_causal
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.pool.database import read_keys

pytestmark = pytest.mark.usefixtures("quick_searches")
HOW = Drawn(number=12, temperature=0.5, top_p=0.9, max_length=40)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A study's data, of 200 proteins, each with a near copy: its pool and its split."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    first = ["W" + random_protein(rng, int(n)) for n in rng.integers(40, 120, 200)]
    texts = first + [mutate(rng, one, 0.05) for one in first]
    pool = make_pool(folder, {"one": [(f"p{i}", text) for i, text in enumerate(texts)]})
    return pool, split(pool, dedup(pool, folder / "dedup"), folder / "split")


def of_split(data, name):
    """The sequences of a split in the order of their keys."""
    pool, parts = data
    every = [text for part in pool.parts for text in sequences_in(part.database)]
    return [every[key] for keys in read_keys(parts / name) for key in keys]


def written(path, texts):
    path.write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
    return path


def resources():
    return Resources(**RESOURCES)


def generated(data, run, out, how=HOW):
    pool, parts = data
    generate_proteins(str(run), how, pool.folder, parts, 3, 1, out)


@pytest.mark.parametrize("start_token", [False, True])
def test_cells_are_scored_by_what_they_make(data, tmp_path, start_token):
    pool, parts = data
    finished_run(tmp_path / "cell", "clm", start_token=start_token)
    fasta, out = tmp_path / "generation.fasta", tmp_path / "generation.tsv"
    generated(data, tmp_path / "cell", fasta)
    made = [line for line in fasta.read_text().splitlines() if line[0] != ">"]
    assert len(made) == 12
    assert max(map(len, made)) <= 40
    # Without start token first residues are those of the training sequences.
    begun = [one[0] for one in made].count("W")
    assert begun == 12 if not start_token else begun < 12
    measured = [tmp_path / f"{name}.npz" for name in ("own", "natural", "shuffled") if start_token]
    for of, path in zip((str(fasta), "natural", "shuffled"), measured, strict=False):
        by = str(tmp_path / "cell"), tmp_path / "esmfold"
        measure_proteins(of, 12, pool.folder, parts, 3, 1, path, *by)
    cell = str(tmp_path / "cell")
    judge_proteins(fasta, cell, pool.folder, parts, 3, resources(), "auto", out, measured)
    record = json.loads((tmp_path / "generation.json").read_text())
    assert (record["task"], record["dataset"]) == ("generation", "generation")
    assert (record["model"]["kind"], record["model"]["objective"]) == ("cell", "clm")
    assert record["settings"] == {
        **{"number": 12, "temperature": 0.5, "top_p": 0.9, "max_length": 40}
    }
    scores = {one["metric"]: one for one in record["scores"]}
    assert scores["mean_length"]["value"] == pytest.approx(np.mean([*map(len, made)]))
    assert scores["no_homologue"]["value"] == 1
    assert scores["mean_length"]["floor"] == scores["mean_length"]["reference"]
    assert scores["mean_plddt"]["value"] is None
    perplexity = scores["model_perplexity"]
    if start_token:
        assert "esmfold is no folder" in scores["mean_plddt"]["note"]
        natural = StudyData(pool.folder, parts).natural_proteins(12, 3, out)
        nats = nats_by(cell, natural, 1) @ natural.lengths / natural.lengths.sum()
        assert perplexity["reference"] == pytest.approx(np.exp(nats))
        assert len({perplexity[name] for name in ("value", "reference", "floor")}) == 3
    else:
        assert perplexity["value"] is None
        assert "downstream.generation.perplexity_by" in perplexity["note"]
    table = pd.read_csv(out, sep="\t").set_index("measure")
    assert table.loc["mean_length", "natural"] == scores["mean_length"]["reference"]
    assert not [*tmp_path.glob(".*")]  # nothing is left of the work


def test_judgement_is_that_of_the_same_sequences_in_files(data, tmp_path):
    pool, parts = data
    train, valid = of_split(data, "train"), of_split(data, "valid")
    assert len(train) > 200  # also the near copies
    files = [written(tmp_path / "train.fasta", train), written(tmp_path / "valid.fasta", valid)]
    rng = np.random.default_rng(4)
    new = [*train[:3], *(mutate(rng, one, 0.2) for one in train[20:24]), *valid[:2]]
    fasta = written(tmp_path / "new.fasta", new)
    known = [StudyData(pool.folder, parts), Files(files[:1], files[1:])]
    tables = [Judge(one, seed=5).table(fasta, tmp_path / f"{i}.tsv") for i, one in enumerate(known)]
    of_study, of_files = ({row.measure: row for row in rows} for rows in tables)
    assert list(of_study) == list(of_files)
    for name, row in of_study.items():
        for column in ("generated", "natural"):
            assert getattr(row, column) == pytest.approx(getattr(of_files[name], column)), name
    assert of_study["duplicates_of_training"].generated == pytest.approx(3 / 9)
    assert of_study["proteins"].natural == 9
    assert of_study["no_homologue"].natural > 0.5


def test_a_part_of_training_says_what_it_is_like(data, tmp_path, monkeypatch):
    """Sums are of a sample where there is too much, duplicates and homologues of all."""
    pool, parts = data
    fasta = written(tmp_path / "new.fasta", of_split(data, "train"))
    monkeypatch.setattr("plm_scaling.downstream.generation.known.study.SAMPLE", 50)
    study = StudyData(pool.folder, parts)
    assert len(study.first_residues()) == 50
    rows = {row.measure: row for row in Judge(study).table(fasta, tmp_path / "table.tsv")}
    assert rows["duplicates_of_training"].generated == 1
    assert rows["no_homologue"].generated == 0
    assert 0 < rows["lengths_from_training"].generated < 0.2


def test_only_causal_models_make_proteins(data, tmp_path):
    for objective in ("clm", "mlm"):
        finished_run(tmp_path / objective, objective)
    for kind in ("progen", "esm"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "config.json").write_text(json.dumps({"model_type": kind}))
    found = [is_causal(tmp_path / name) for name in ("clm", "mlm", "progen", "esm", "none")]
    assert found == [True, False, True, False, False]
    with pytest.raises(InferenceError, match="is an MLM"):
        generated(data, tmp_path / "mlm", tmp_path / "x.fasta")


def test_judging_needs_neither_torch_nor_gemmi():
    """The environment with MMseqs2 has them not."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'gemmi', 'sklearn')))"
    needed = "import plm_scaling.downstream.generation.task"
    subprocess.run([sys.executable, "-c", f"{blocked}; {needed}"], check=True)
