"""`plm-scaling judge`: measures of sets of proteins of which they are known."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from families import mutate, random_protein
from finished_runs import finished_run

from plm_scaling.cli import main as cli
from plm_scaling.common.command_line import parse
from plm_scaling.common.errors import DownstreamError, PlmScalingError, SourceError
from plm_scaling.downstream.generation.by_models.others import OtherModels
from plm_scaling.downstream.generation.by_models.structures import Structure
from plm_scaling.downstream.generation.counts import (
    composition,
    counts_per_sequence,
    distinct_trimers,
    jensen_shannon,
    trimers,
)
from plm_scaling.downstream.generation.judge import Judge
from plm_scaling.downstream.generation.known.files import Files
from plm_scaling.downstream.generation.measures import bootstrap
from plm_scaling.downstream.generation.proteins import (
    Proteins,
    natural_proteins,
    shuffled_proteins,
)
from plm_scaling.filter import ngram
from plm_scaling.inference.run import open_run
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.sources.read.inputs import Survey

pytestmark = pytest.mark.usefixtures("quick_searches")


def write(path, proteins):
    path.write_text("".join(f">p{i}\n{protein}\n" for i, protein in enumerate(proteins)))
    return path


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Files, and the rows of a judgement by measure: of 20 generated proteins four are of training,
    two of these equal, four at 80 %, twelve random, of which five are one family."""
    folder = tmp_path_factory.mktemp("judged")
    rng = np.random.default_rng(5)
    training = [random_protein(rng, int(n)) for n in rng.integers(80, 200, 60)]
    own = [*training[:3], training[2]]
    near = [mutate(rng, protein, 0.2) for protein in training[10:14]]
    ancestor = random_protein(rng, 150)
    family = [mutate(rng, ancestor, 0.1) for _ in range(5)]
    alone = [random_protein(rng, int(n)) for n in rng.integers(80, 200, 7)]
    write(folder / "new.fasta", own + near + family + alone)
    (folder / "new.fasta.json").write_text(json.dumps({"proteins": 20, "ended": 15}))
    write(folder / "train.fasta", training)
    write(folder / "valid.fasta", [mutate(rng, protein, 0.5) for protein in training])
    finished_run(folder / "clm", "clm", start_token=True)
    known = Files([folder / "train.fasta"], [folder / "valid.fasta"])
    judge = Judge(known, OtherModels(str(folder / "clm")), seed=1)
    rows = judge.table(folder / "new.fasta", folder / "table.parquet")
    return folder, {row.measure: row for row in rows}


def test_homology_and_duplicates_are_those_that_were_planted(judged):
    _, rows = judged
    generated = {name: row.generated for name, row in rows.items()}
    assert generated["proteins"] == 20
    assert generated["ended"] == 0.75
    assert generated["duplicates"] == pytest.approx(1 / 20)
    assert generated["duplicates_of_training"] == pytest.approx(4 / 20)
    assert generated["identity_0.9_1"] == pytest.approx(4 / 20)
    assert generated["identity_0.7_0.9"] == pytest.approx(4 / 20)
    assert generated["no_homologue"] == pytest.approx(12 / 20)
    assert generated["mean_identity"] == pytest.approx(0.9, abs=0.01)
    assert generated["mean_coverage"] > 0.95
    assert generated["clusters_per_1000"] == pytest.approx(1000 * 15 / 20)


def test_shares_add_up_and_natural_and_shuffled_are_a_scale(judged):
    _, rows = judged
    for name in ("generated", "natural", "shuffled"):
        shares = [
            getattr(row, name)
            for measure, row in rows.items()
            if measure.startswith("identity_") or measure == "no_homologue"
        ]
        assert sum(shares) == pytest.approx(1)
    assert rows["proteins"].natural == rows["proteins"].shuffled == 20
    assert rows["no_homologue"].shuffled == 1
    assert rows["mean_length"].natural == rows["mean_length"].shuffled
    assert rows["composition_from_training"].natural == pytest.approx(
        rows["composition_from_training"].shuffled
    )
    assert rows["ngram_perplexity"].generated < rows["ngram_perplexity"].shuffled


def test_what_is_not_measured_is_null_and_says_why(judged):
    folder, rows = judged
    assert rows["mean_plddt"].generated is None
    assert "--esmfold" in rows["mean_plddt"].note
    assert pq.read_schema(folder / "table.parquet").metadata[b"tm_scores_by"] == b""
    assert rows["ended"].natural is None
    assert rows["mean_identity"].shuffled is None


def test_perplexities_are_those_of_the_models(judged):
    folder, rows = judged
    new = (folder / "new.fasta").read_text().split("\n")[1::2]
    entries, lengths = "".join(f"{p}\n\0" for p in new).encode(), np.array(list(map(len, new)))
    with open_run(folder / "clm", 1) as run:
        nats = Scorer(run, amino_acids=True).nll_per_residue(entries, lengths)
    expected = np.exp((nats * lengths).sum() / lengths.sum())
    assert rows["model_perplexity"].generated == pytest.approx(expected, rel=1e-5)
    text = (folder / "train.fasta").read_text().split("\n")[1::2]
    model = ngram.train(ngram.count("".join(f"{p}\n\0" for p in text).encode(), 3), 3)
    nats = model.nll_per_residue(entries, lengths)
    expected = np.exp((nats * lengths).sum() / lengths.sum())
    assert rows["ngram_perplexity"].generated == pytest.approx(expected, rel=1e-6)


def test_command_writes_the_table_and_prints_it(judged, tmp_path, monkeypatch, capsys):
    folder, rows = judged
    out = tmp_path / "table.tsv"
    new = (folder / "new.fasta").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(new)))
    words = ["judge", "-", "--against", folder / "train.fasta", "--out", out]
    words += ["--natural", folder / "valid.fasta", "--threads", 1]
    monkeypatch.setattr(sys, "argv", ["plm-scaling", *map(str, words)])
    cli.main()
    said = capsys.readouterr().out
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    table = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
    assert list(table) == list(rows)
    assert table["model_perplexity"]["generated"] == ""
    assert "--model" in table["model_perplexity"]["note"]
    for name in ("3mers_from_training", "clusters_per_1000"):
        assert float(table[name]["generated"]) == pytest.approx(rows[name].generated)
        assert name in said
    assert pq.read_table(folder / "table.parquet")["measure"].to_pylist() == list(rows)
    assert {path.name for path in tmp_path.iterdir()} == {"table.tsv"}
    monkeypatch.setattr(Judge, "table", lambda *given: list(rows.values()))
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    cli.main()
    told = json.loads(capsys.readouterr().out)
    assert told == [row._asdict() for row in rows.values()]


def test_files_of_the_command_may_be_standard_input(judged, monkeypatch):
    new = (judged[0] / "new.fasta").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(new)))
    words = ["judge", "a.fasta", "--against", "b.fasta", "--natural", "-", "--out", "a.tsv"]
    given = parse(cli.app, words)[1].arguments
    with Files(given["against"], given["natural"]).opened() as known:
        assert known.facts == {"against": "b.fasta", "natural": "standard input"}
        assert known.natural_proteins(5, 1, judged[0] / "a.tsv").count() == 5
    words[3], words[5] = words[5], words[3]
    assert parse(cli.app, words)[1].arguments["against"] == [Path("-")]


def test_counts_are_of_each_sequence():
    texts = [b"AAAA", b"ACDACD", b"AC"]
    lengths = np.array([4, 6, 2])
    counts = counts_per_sequence(b"".join(text + b"\n\0" for text in texts), lengths)
    np.testing.assert_allclose(distinct_trimers(counts), [0.5, 0.75, np.nan])
    total = counts.sum(axis=0)
    shares = dict(zip(ngram.ALPHABET, composition(total), strict=True))
    assert shares["A"] == pytest.approx(7 / 12)
    assert shares["D"] == pytest.approx(2 / 12)
    assert np.sort(trimers(total))[::-1][:4] == pytest.approx([2 / 6, 2 / 6, 1 / 6, 1 / 6])


def test_divergence_is_that_of_jensen_and_shannon():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert jensen_shannon(p, q) == pytest.approx(0.5)
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(1)
    assert np.isnan(jensen_shannon(p, np.zeros(3)))


def test_standard_error_is_that_of_a_mean():
    values = np.random.default_rng(2).normal(3, 2, 400)
    value, error = bootstrap(lambda weights: weights @ values / weights.sum(), 400, 1000, 1)
    assert value == pytest.approx(values.mean())
    assert error == pytest.approx(values.std() / 20, rel=0.1)
    rare = np.arange(400) < 1
    value, error = bootstrap(lambda weights: 0.4 if weights @ rare else float("nan"), 400, 100, 1)
    assert value == 0.4
    assert np.isnan(error)
    value, error = bootstrap(lambda weights: 0.4, 1, 100, 1)
    assert value == 0.4
    assert np.isnan(error)


def test_a_single_protein_gives_no_standard_error(tmp_path):
    new = write(tmp_path / "new.fasta", ["MKVLAGIVEE"])
    (tmp_path / "new.fasta.json").write_text('{"proteins": 1, "ended": 1}')
    rows = Judge(Files([new], [])).table(new, tmp_path / "table.tsv")
    assert {row.generated for row in rows if row.measure == "ended"} == {1.0}
    assert {row.generated_error for row in rows} == {None}


def test_natural_proteins_are_drawn_whatever_their_order(tmp_path):
    rng = np.random.default_rng(3)
    texts = [random_protein(rng, 30) for _ in range(50)]
    files = [write(tmp_path / "a.fasta", texts), write(tmp_path / "b.fasta", texts[::-1])]
    found = [
        natural_proteins([file], 10, 7, Survey(tmp_path / "x", False)).sequences for file in files
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) == 10
    other = natural_proteins(files[:1], 10, 8, Survey(tmp_path / "x", False)).sequences
    assert set(other) != set(found[0])


def test_shuffled_proteins_keep_their_residues():
    proteins = Proteins([b"ACDEFGHIKL" * 5, b"MKV"])
    shuffled = shuffled_proteins(proteins, 1)
    assert shuffled.sequences[0] != proteins.sequences[0]
    assert [sorted(one) for one in shuffled.sequences] == [
        sorted(one) for one in proteins.sequences
    ]


def test_killed_judgement_resumes_with_the_same_table(judged, tmp_path, monkeypatch):
    folder, rows = judged
    judge = Judge(Files([folder / "train.fasta"], []))
    with monkeypatch.context() as patch:
        patch.setattr("plm_scaling.downstream.generation.judge.rows_of", killed)
        with pytest.raises(KeyboardInterrupt):
            judge.table(folder / "new.fasta", tmp_path / "table.tsv")
    work = tmp_path / ".table.tsv.work"
    made = {path.name: path.stat().st_mtime_ns for path in work.glob("*.npy")}
    assert len(made) == 3
    again = {row.measure: row for row in judge.table(folder / "new.fasta", tmp_path / "table.tsv")}
    assert again["identity_0.9_1"] == rows["identity_0.9_1"]._replace(
        natural=None, natural_error=None
    )
    assert not work.exists()


def test_judgement_with_other_known_structures_predicts_none_again(judged, tmp_path, monkeypatch):
    """Also where the first ones made Foldseek fail."""
    folder, _ = judged
    by, calls = "plm_scaling.downstream.generation.by_models", []
    known = Files([folder / "train.fasta"], [])
    monkeypatch.setattr(f"{by}.others.which", lambda name: "/none/foldseek")

    def predicted(sequences, *how):
        calls.append(tuple(sequences))
        return (Structure(50.0, np.ones((len(one), 3))) for one in sequences)

    def scores(program, proteins, places, known, threads):
        if known.name == "bad":
            raise DownstreamError("Foldseek failed")
        return np.full(proteins.count(), 0.25)

    monkeypatch.setattr(f"{by}.esmfold.predicted", predicted)
    monkeypatch.setattr(f"{by}.foldseek.foldseek_scores", scores)
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.pdb").touch()
    judges = [Judge(known, OtherModels(None, tmp_path, tmp_path / one)) for one in ("bad", "good")]
    out = tmp_path / "table.tsv"
    with pytest.raises(DownstreamError, match="Foldseek failed"):
        judges[0].table(folder / "new.fasta", out)
    monkeypatch.setattr("plm_scaling.downstream.generation.judge.nearest", killed)
    with pytest.raises(KeyboardInterrupt):
        judges[1].table(folder / "new.fasta", out)
    made = [*(tmp_path / ".table.tsv.work").glob("by_models_*.npz")]
    assert len(made) == len(calls) == len(set(calls)) == 2  # generated and shuffled ones
    assert all((np.load(path)["tm_score"] == 0.25).all() for path in made)


def killed(*arguments):
    raise KeyboardInterrupt


def test_bad_input_is_said(tmp_path):
    new = write(tmp_path / "new.fasta", ["MKVLA"])
    (tmp_path / "bad.fasta").write_text(">a\nMK1\n>b\nMKV\n")
    with pytest.raises(PlmScalingError, match="must end in"):
        Judge(Files([new], [])).table(new, tmp_path / "table.xls")
    with pytest.raises(SourceError, match="record 1"):
        Judge(Files([tmp_path / "bad.fasta"], [])).table(new, tmp_path / "table.tsv")
    with pytest.raises(SourceError, match="record 1"):
        Judge(Files([new], [])).table(tmp_path / "bad.fasta", tmp_path / "table.tsv")
