"""`plm-scaling score` and `embed`: tables in the order of the FASTA file."""

import gzip
import json
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from finished_runs import CONTEXT, SHAPE, finished_run

from plm_scaling.cli import main as cli
from plm_scaling.common.errors import InferenceError, PlmScalingError, SourceError
from plm_scaling.inference.embed import embed_fasta
from plm_scaling.inference.embedder import Embedder
from plm_scaling.inference.fasta import read_chunks
from plm_scaling.inference.run import open_run
from plm_scaling.inference.scoring.score import score_fasta
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.tokens.format.vocabulary import STANDARD, encode


def proteins():
    """Thirty, of 1 to 3 contexts' length."""
    rng = np.random.default_rng(8)
    lengths = [1, 2, 63, 64, 65, 150, *rng.integers(3, 90, 24)]
    return {f"p{i}": "".join(rng.choice(list(STANDARD), n)) for i, n in enumerate(lengths)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs clm and mlm, and proteins.fasta.gz in lower case and lines of 50."""
    folder = tmp_path_factory.mktemp("cli")
    for objective in ("clm", "mlm"):
        finished_run(folder / objective, objective, "prenorm")
    text = ""
    for name, protein in proteins().items():
        lines = [protein[i : i + 50] for i in range(0, len(protein), 50)]
        text += f">{name} of a test\n" + "\n".join(lines).lower() + "\n"
    (folder / "proteins.fasta.gz").write_bytes(gzip.compress(text.encode()))
    return folder


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("plm_scaling.inference.fasta.CHUNK_SEQUENCES", 7)


def entries(texts):
    return b"".join(text.encode() + b"\n\0" for text in texts)


def direct(folder, objective, what):
    """`what`(run, entries, lengths) of all proteins at once."""
    texts = list(proteins().values())
    with open_run(folder / objective, 1) as run:
        return what(run, entries(texts), np.array([len(text) for text in texts]))


def check_scores(columns, nll):
    assert columns["id"] == list(proteins())
    assert columns["length"] == [len(text) for text in proteins().values()]
    for found, perplexity, expected in zip(
        columns["nll_per_residue"], columns["perplexity"], nll, strict=True
    ):
        if np.isnan(expected):
            assert found is perplexity is None
        else:
            assert found == pytest.approx(expected, abs=1e-5)
            assert perplexity == pytest.approx(np.exp(expected), rel=1e-5)


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["plm-scaling", *map(str, arguments), "--threads", "1"])
    cli.main()


def test_commands_follow_their_options(folder, tmp_path, monkeypatch):
    mlm, fasta = folder / "mlm", folder / "proteins.fasta.gz"
    out = tmp_path / "scores.arrow"
    command(monkeypatch, "score", mlm, fasta, "--out", out, "--fast", "--per-residue")
    table = pa.ipc.open_file(out.read_bytes()).read_all()
    assert table.schema.metadata[b"method"] == b"masked, fast"
    assert {"log_probability", "marginals"} < set(table.schema.names)
    out = tmp_path / "embeddings.arrow"
    command(monkeypatch, "embed", mlm, fasta, "--out", out, "--per-residue", "--layer", 1)
    table = pa.ipc.open_file(out.read_bytes()).read_all()
    assert table.schema.metadata[b"layer"] == b"1"
    assert len(table["embedding"][5]) == 150
    command(monkeypatch, "export", mlm, "--to", "hf", "--out", tmp_path / "hf")
    assert (tmp_path / "hf/model.safetensors").exists()


def test_score_command_writes_text_in_the_order_of_the_file(folder, small_chunks, monkeypatch):
    out = folder / "scores.tsv"
    command(monkeypatch, "score", folder / "clm", folder / "proteins.fasta.gz", "--out", out)
    nll = direct(folder, "clm", lambda run, *chunk: Scorer(run).nll_per_residue(*chunk))
    assert np.isnan(nll[0])
    table = pyarrow.csv.read_csv(out, parse_options=pyarrow.csv.ParseOptions(delimiter="\t"))
    check_scores(table.to_pydict(), nll)


def test_scores_of_residues_are_in_the_table(folder, small_chunks):
    out = folder / "scores.parquet"
    score_fasta(str(folder / "mlm"), [folder / "proteins.fasta.gz"], out, False, True, 1)
    table = pq.read_table(out)
    own, marginals = direct(
        folder, "mlm", lambda run, *chunk: Scorer(run).scores(*chunk, marginals=True)
    )
    columns = table.to_pydict()
    lengths = np.array(columns["length"])
    edges = np.cumsum(lengths)[:-1]
    check_scores(columns, [-logs.mean() for logs in np.split(own, edges)])
    for name, expected in (("log_probability", own), ("marginals", marginals)):
        for found, own in zip(columns[name], np.split(expected, edges), strict=True):
            np.testing.assert_allclose(found, own, atol=1e-5)
    # A residue's own log-probability is its amino acid's among the marginals.
    order = table.schema.field("marginals").metadata[b"residues"].decode()
    protein = proteins()["p5"]
    own = [
        row[order.index(letter)]
        for letter, row in zip(protein, columns["marginals"][5], strict=True)
    ]
    np.testing.assert_allclose(own, columns["log_probability"][5], atol=1e-6)
    record = json.loads((folder / "mlm/result.json").read_text())
    assert table.schema.metadata[b"cell"].decode() == record["cell"]
    assert table.schema.metadata[b"method"] == b"masked one at a time"


def test_first_residue_of_a_causal_model_is_null(folder):
    out = folder / "causal.arrow"
    score_fasta(str(folder / "clm"), [folder / "proteins.fasta.gz"], out, False, True, 1)
    with pa.memory_map(str(out)) as file:
        rows = pa.ipc.open_file(file).read_all().to_pylist()
    for row in rows:
        assert len(row["log_probability"]) == row["length"]
        assert row["log_probability"][0] is None
        assert None not in row["log_probability"][1:]
    assert set(rows[0]) == {"id", "length", "nll_per_residue", "perplexity", "log_probability"}


@pytest.mark.parametrize("objective", ["clm", "mlm"])
@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_embeddings_are_means_over_residues(folder, small_chunks, objective, layer):
    tables = []
    for per_residue in (False, True):
        out = folder / f"{per_residue}.arrow"
        options = (str(folder / objective), [folder / "proteins.fasta.gz"], out)
        embed_fasta(*options, layer, per_residue, threads=1)
        with pa.memory_map(str(out)) as file:
            tables.append(pa.ipc.open_file(file).read_all())
    mean, each = tables
    assert mean["id"].to_pylist() == each["id"].to_pylist() == list(proteins())
    assert mean.schema.field("embedding").type == pa.list_(pa.float32(), SHAPE.hidden)
    states = direct(
        folder, objective, lambda run, *chunk: Embedder(run, layer).residues(*chunk, lambda n: None)
    )
    pieces = np.split(states, np.cumsum(mean["length"].to_numpy())[:-1])
    for one, many, own in zip(
        mean["embedding"].to_pylist(), each["embedding"].to_pylist(), pieces, strict=True
    ):
        np.testing.assert_allclose(many, own, atol=1e-5)
        np.testing.assert_allclose(one, own.mean(0), atol=1e-5)


def test_long_protein_is_embedded_in_windows(folder):
    text = proteins()["p5"]
    tokens = np.frombuffer(encode(entries([text])), np.uint8)
    with open_run(folder / "clm", 1) as run:
        length = np.array([len(text)])
        found = Embedder(run).residues(entries([text]), length, lambda n: None)
        # A residue counts in the first window that holds it; windows begin every half context.
        begin = CONTEXT // 2
        piece = text[begin : begin + CONTEXT]
        own = Embedder(run).residues(entries([piece]), np.array([CONTEXT]), lambda n: None)
        np.testing.assert_allclose(found[CONTEXT : begin + CONTEXT], own[begin:], atol=1e-5)
    assert len(tokens) == len(text) + 1 > 2 * CONTEXT


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MKV\n", "line 1: not FASTA.*or give another file"),
        ("", "is empty; .*or give another file"),
        (
            ">a\nMK\n>b\nM1K\n",
            r"1 of 2 records .*first is record 2 in line 3 of .*'b': illegal character '1', 1",
        ),
        (">a\nMK\n>b\n\n", r"first is record 2 in line 3 of .*'b': no sequence\)"),
    ],
)
def test_text_that_is_no_protein_is_refused_before_any_computation(
    folder, tmp_path, monkeypatch, text, message
):
    monkeypatch.setattr("plm_scaling.inference.run.TrainedRun.logits", None)
    fasta = write(tmp_path / "in.fasta", text)
    for compute in (
        lambda out: score_fasta(str(folder / "clm"), [fasta], out, False, False, 1),
        lambda out: embed_fasta(str(folder / "clm"), [fasta], out, -1, False, 1),
    ):
        with pytest.raises(SourceError, match=message):
            compute(tmp_path / "out.arrow")
    listed = {tmp_path / "out.arrow.rejected.tsv"} if "record 2" in message else set()
    assert set(tmp_path.iterdir()) == {fasta, *listed}


@pytest.mark.parametrize("name", ["score", "embed"])
def test_pipe_and_folder_are_read_and_bad_records_skipped(
    folder, tmp_path, monkeypatch, capsys, name
):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.faa", ">a\nMKV\n>b\nM-K\n")
    begin, end = os.pipe()
    os.write(end, b">c\nACD\n>d\nM1K\n")
    os.close(end)
    out = tmp_path / "out.parquet"
    with os.fdopen(begin) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        words = (name, folder / "clm", "-", tmp_path / "in", "--out", out)
        command(monkeypatch, *words, "--skip-bad")
    assert pq.read_table(out)["id"].to_pylist() == ["c", "a"]
    listed = tmp_path / "out.parquet.rejected.tsv"
    said = capsys.readouterr()
    assert f"(2 of 4 records skipped, listed in {listed})" in said.out
    assert f"[{name}] standard input, {tmp_path / 'in/a.faa'}: 2 sequences\n" in said.err
    rows = [line.split("\t") for line in listed.read_text().splitlines()[1:]]
    files = ["standard input", str(tmp_path / "in/a.faa")]
    assert [(row[2], row[-1]) for row in rows] == [*zip("db", files, strict=True)]


def test_options_that_do_not_fit_are_refused(folder, tmp_path):
    fasta = folder / "proteins.fasta.gz"
    clm = str(folder / "clm")
    with pytest.raises(InferenceError, match="--fast is for masked models"):
        score_fasta(clm, [fasta], tmp_path / "out.tsv", True, False, 1)
    for compute in (
        lambda out: score_fasta("no model", [fasta], out, False, False, 1),
        lambda out: embed_fasta("no model", [fasta], out, -1, False, 1),
    ):
        with pytest.raises(PlmScalingError, match=r"must end in \.csv, .* or \.arrow"):
            compute(tmp_path / "out.xls")
    with pytest.raises(InferenceError, match=r"the model has 2 layers; give 0"):
        embed_fasta(clm, [fasta], tmp_path / "out.arrow", 3, False, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("objective", "fast", "proposals"), [("mlm", False, 1), ("mlm", True, 0), ("clm", False, 0)]
)
def test_long_masked_scores_propose_the_fast_way(
    folder, tmp_path, monkeypatch, caplog, objective, fast, proposals
):
    monkeypatch.setattr("plm_scaling.inference.scoring.score.SECONDS_BEFORE_PROPOSAL", 0.0)
    monkeypatch.setattr("plm_scaling.inference.scoring.score.LONG_SECONDS", 0.0)
    fasta = folder / "proteins.fasta.gz"
    with caplog.at_level("INFO", "plm_scaling"):
        score_fasta(str(folder / objective), [fasta], tmp_path / "out.csv", fast, False, 1)
    said = [line for line in caplog.messages if "--fast would take about 0:0" in line]
    assert len(said) == proposals
    assert all("it masks 15% of the residues at a time" in line for line in said)


def test_table_on_standard_output_is_all_there_is(folder, tmp_path, monkeypatch, capsys):
    fasta = folder / "proteins.fasta.gz"
    command(monkeypatch, "score", folder / "clm", fasta, "--out", "-")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == ["id", "length", "nll_per_residue", "perplexity"]
    assert [line.split("\t")[0] for line in lines[1:]] == list(proteins())
    with pytest.raises(SystemExit, match="--json and --out - both"):
        command(monkeypatch, "embed", folder / "clm", fasta, "--out", "-", "--json")


def test_answers_in_json(folder, tmp_path, monkeypatch, capsys):
    fasta = write(tmp_path / "in.fasta", ">a\nMKV\n>b\nM-K\n")
    for name, what in (("score", "scores"), ("embed", "embeddings")):
        out = tmp_path / f"{name}.csv"
        words = (name, folder / "clm", fasta, "--out", out, "--skip-bad", "--json")
        command(monkeypatch, *words)
        assert json.loads(capsys.readouterr().out) == {
            what: str(out),
            "records": 2,
            "skipped": 1,
            "list": f"{out}.rejected.tsv",
        }


def test_failed_table_leaves_no_file(folder, tmp_path, small_chunks, monkeypatch):
    calls = []
    scores = Scorer.scores

    def failing(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("disk full")
        return scores(self, *arguments, **options)

    monkeypatch.setattr(Scorer, "scores", failing)
    for out in ("a.tsv", "a.arrow", "a.parquet"):
        calls.clear()
        fasta = folder / "proteins.fasta.gz"
        with pytest.raises(OSError, match="disk full"):
            score_fasta(str(folder / "clm"), [fasta], tmp_path / out, False, False, 1)
    assert not list(tmp_path.iterdir())


def test_chunks_have_about_the_requested_number_of_residues(tmp_path):
    lengths = [5, 5, 5, 30, 1, 4, 6]
    text = "".join(f">s{i}\n{'A' * n}\n" for i, n in enumerate(lengths))
    chunks = list(read_chunks(read_fasta(write(tmp_path / "in.fasta", text)), residues=10))
    assert [list(chunk.lengths) for chunk in chunks] == [[5, 5], [5], [30], [1, 4], [6]]
    assert [name for chunk in chunks for name in chunk.ids] == [f"s{i}" for i in range(7)]
