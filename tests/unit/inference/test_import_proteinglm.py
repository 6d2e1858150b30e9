"""Released models of the study become runs: the same logits, by their own order and in ours."""

import json

import numpy as np
import pytest
import torch
from forks import run_job
from public_models import GLM_VOCABULARY, glm_folder, glm_forward
from safetensors.torch import load_file, save_file

from plm_scaling.cli.main import main
from plm_scaling.common.errors import InferenceError, RunsError
from plm_scaling.common.files import sha256_of
from plm_scaling.inference.embedder import Embedder
from plm_scaling.inference.export import export_cell
from plm_scaling.inference.imports import import_proteinglm
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.run import open_run
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.study.layout import Layout
from plm_scaling.study.record import RunRecord, read_finished
from plm_scaling.tokens.format.vocabulary import STANDARD
from plm_scaling.train.checkpoint.store import load_weights
from plm_scaling.train.data.batches import Batch
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_losses
from plm_scaling.train.model.segments import Segments

TEXTS = ["MKVLAAGIVG", "W", "ACDEFGHIKLMNPQRSTVWYXBUZO"]
PREFIX = ["<gmask>", "<sop>", "<eos>"]


def chunk(texts):
    lengths = np.array([len(text) for text in texts])
    return b"".join(text.encode() + b"\n\0" for text in texts), lengths


def their_ids(tokens):
    return torch.tensor([GLM_VOCABULARY.index(token) for token in tokens])


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Folders clm and mlm with their weights, and the runs made of them."""
    folder = tmp_path_factory.mktemp("released")
    found = {}
    for name in ("clm", "mlm"):
        weights = glm_folder(folder / f"theirs-{name}", causal=name == "clm", heads=2)
        import_proteinglm(folder / f"theirs-{name}", folder / name, 1)
        found[name] = folder / name, weights
    return found


def logs_of(weights, tokens, causal):
    return glm_forward(weights, their_ids(tokens), causal, heads=2).log_softmax(1)


def test_commands_import_and_score(tmp_path, monkeypatch, capsys):
    glm_folder(tmp_path / "theirs")
    (tmp_path / "in.fasta").write_text(">a\nMKV\n>b\nW\n")

    def command(*words):
        monkeypatch.setattr("sys.argv", ["plm-scaling", *map(str, words), "--threads", "1"])
        main()

    run, out = tmp_path / "run", tmp_path / "scores.tsv"
    command("import", tmp_path / "theirs", "--from", "proteinglm", "--out", run)
    command("score", run, tmp_path / "in.fasta", "--amino-acids", "--out", out)
    assert capsys.readouterr().out == f"run: {run}\nscores: {out}\n"
    with open_model(str(run), 1) as model:
        expected = Scorer(model, amino_acids=True).nll_per_residue(*chunk(["MKV", "W"]))
    found = [float(line.split("\t")[2]) for line in out.read_text().splitlines()[1:]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("amino_acids", [False, True])
def test_causal_scores_are_those_of_the_released_model_after_its_prefix(released, amino_acids):
    run, weights = released["clm"]
    with open_model(str(run), 1) as model:
        own, _ = Scorer(model, amino_acids=amino_acids).scores(*chunk(TEXTS))
    standard = their_ids(STANDARD)
    for text, found in zip(TEXTS, np.split(own, [10, 11]), strict=True):
        logs = logs_of(weights, [*PREFIX, *text], True)[2:-1]
        expected = logs.gather(1, their_ids(text)[:, None])[:, 0]
        if amino_acids:
            expected = expected - logs[:, standard].logsumexp(1)
            expected[[letter not in STANDARD for letter in text]] = torch.nan
        np.testing.assert_allclose(found, expected, atol=2e-5)  # the first residue, too


def test_masked_scores_are_those_of_the_released_model(released):
    run, weights = released["mlm"]
    with open_model(str(run), 1) as model:
        own, marginals = Scorer(model).scores(*chunk(TEXTS), marginals=True)
        with pytest.raises(
            InferenceError, match="not known how many residues were masked in training; score"
        ):
            Scorer(model, fast=True).scores(*chunk(TEXTS))
    text = TEXTS[0]
    for place in range(len(text)):
        tokens = [*text, "<eos>"]
        tokens[place] = "<mask>"
        logs = logs_of(weights, tokens, False)[place]
        assert own[place] == pytest.approx(float(logs[their_ids(text)[place]]), abs=2e-5)
        np.testing.assert_allclose(marginals[place], logs[their_ids(STANDARD)], atol=2e-5)


def test_long_protein_is_read_in_rows_that_all_begin_with_the_prefix(released):
    run, weights = released["clm"]
    text = "".join(np.random.default_rng(2).choice(list(STANDARD), 100))
    with open_model(str(run), 1) as model:
        own, _ = Scorer(model).scores(*chunk([text]))
        states = Embedder(model).residues(*chunk([text]), lambda n: None)
    # Rows hold 64 − 3 residues and begin every 30, or end where the protein does.
    expected = np.empty(100)
    for begin, first, last in ((0, 0, 61), (30, 61, 91), (39, 91, 100)):
        piece = text[begin : begin + 61]
        logs = logs_of(weights, [*PREFIX, *piece], True)[2:-1]
        found = logs.gather(1, their_ids(piece)[:, None])[:, 0].numpy()
        expected[first:last] = found[first - begin : last - begin]
    np.testing.assert_allclose(own, expected, atol=3e-5)
    assert states.shape == (100, 24)


def test_prefix_may_be_another(tmp_path):
    weights = glm_folder(tmp_path / "theirs")
    import_proteinglm(tmp_path / "theirs", tmp_path / "run", 1, prefix="<gmask><sop>")
    with open_model(str(tmp_path / "run"), 1) as model:
        own, _ = Scorer(model).scores(*chunk(TEXTS[:1]))
    tokens = their_ids(["<gmask>", "<sop>", *TEXTS[0]])
    logs = glm_forward(weights, tokens, True)[1:-1].log_softmax(1)
    np.testing.assert_allclose(own, logs.gather(1, tokens[2:, None])[:, 0], atol=2e-5)
    with pytest.raises(InferenceError, match=r"--prefix <bos>: give any of <gmask> <sop> <eos>"):
        import_proteinglm(tmp_path / "theirs", tmp_path / "other", 1, prefix="<bos>")


def test_record_says_what_is_known_and_nothing_else(released, tmp_path):
    record, cell = read_finished(released["clm"][0] / "result.json")
    assert record.status == "imported"
    assert record.reason == "imported from proteinglm (theirs-clm), not trained here"
    theirs = released["clm"][0].with_name("theirs-clm") / "model.safetensors"
    assert cell.files == {"model.safetensors": sha256_of(theirs)}
    trained = ("loss", "tokens", "unique_tokens", "flops", "wall_seconds", "data_sha256")
    assert {getattr(record, name) for name in trained} == {None}
    shape = (cell.layers, cell.hidden, cell.ffn, cell.heads, cell.context_length, cell.precision)
    assert shape == (2, 24, 40, 2, 64, "fp32")
    unknown = ("tokens", "steps", "corpus", "mixture", "seed", "peak_learning_rate", "mask_ratio")
    assert {getattr(cell, name) for name in unknown} == {None}
    written = json.loads((released["clm"][0] / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps(written | {"status": "finished"}))
    with pytest.raises(RunsError, match="key tokens is None, not a number"):
        RunRecord.read(tmp_path / "result.json")


def test_divided_over_two_processes_it_is_the_same_model(released, tmp_path):
    run, weights = released["clm"]
    _, cell = read_finished(run / "result.json")
    with open_run(run, 1) as opened:
        row = [*opened.alphabet.row_prefix, *opened.tokens(b"MKVLAAGI\n\0")]
    inputs = torch.tensor([row])
    one = Segments.of(np.array([0]), np.array([len(row)]), len(row))
    batch = Batch(inputs, inputs.roll(-1, 1), torch.ones(inputs.shape), one)

    def job():
        layout = Layout("cpu", 2, 1, 1, 1, "none")
        with training_process(layout, 1, 1), torch.no_grad():
            model = build_model(cell, layout, initial_weights=False)
            load_weights(run, model)
            return model_losses(model, batch)

    tokens = [*PREFIX, *"MKVLAAGI", "<eos>"]
    logs = logs_of(weights, tokens, True)[:-1]
    expected = -logs.gather(1, their_ids(tokens)[1:, None])[:, 0]
    for losses in run_job(2, job, tmp_path / "job"):
        np.testing.assert_allclose(losses[0, 2:-1], expected[2:], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("order", [False, True])
def test_export_generates_and_scores_after_the_prefix(released, tmp_path, order):
    from transformers import AutoTokenizer

    from plm_scaling.inference.hf import modeling_plm_scaling as exported

    run, weights = released["clm"]
    export_cell(str(run), tmp_path / "hf", 1, released_order=order)
    model = exported.PlmScalingForCausalLM.from_pretrained(tmp_path / "hf").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    tokens = tokenizer(TEXTS[0], return_tensors="pt")
    assert tokenizer.convert_ids_to_tokens(tokens["input_ids"][0]) == [
        "<gmask>", "<sop>", "<eod>", *TEXTS[0],
    ]  # fmt: skip
    with torch.no_grad():
        found = model(**tokens).logits[0].log_softmax(1)
        made = model.generate(
            **tokenizer("", return_tensors="pt"), max_new_tokens=1, do_sample=False
        )
    logs = logs_of(weights, [*PREFIX, *TEXTS[0]], True)
    ids = tokenizer.convert_tokens_to_ids([*STANDARD])
    np.testing.assert_allclose(found[:, ids], logs[:, their_ids(STANDARD)], atol=1e-4)
    letters = [*STANDARD, *"XBUZO", "<eos>"]
    likeliest = letters[int(logs_of(weights, PREFIX, True)[-1, their_ids(letters)].argmax())]
    assert tokenizer.convert_ids_to_tokens(made[0])[-1] == likeliest.replace("eos", "eod")
    card = (tmp_path / "hf/README.md").read_text()
    assert "Imported from proteinglm (theirs-clm), not trained here: what" in card
    assert "| tokens | missing |" in card
    assert "`<gmask><sop><eod>` before every sequence" in card
    assert "None" not in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotary_embedding_2d": True}, "key rotary_embedding_2d is True, in the study's models F"),
        ({"glu_activation": "swiglu"}, "key glu_activation is 'swiglu'"),
        ({"quantization_bit": 4}, "key quantization_bit is 4"),
        ({"kv_channels": 5}, "3 heads of 5 channels do not make the width 24"),
        ({"seq_length": None}, "key seq_length is missing"),
        ({"num_layers": 3}, r"lack decoder.layers.2\.input_layernorm\.bias, .* \(12 in all\)"),
        ({"num_layers": 1}, r"have, besides those of the model, decoder\.layers\.1\."),
        ({"ffn_hidden_size": 41}, r"linear_fc1\.bias is \[80\], by config.json \[82\]"),
    ],
)
def test_other_networks_are_refused(tmp_path, changes, message):
    folder = tmp_path / "theirs"
    glm_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InferenceError, match=message):
        import_proteinglm(folder, tmp_path / "run", 1)
    assert [*tmp_path.iterdir()] == [folder]


def test_other_weights_and_tokens_are_refused(tmp_path, caplog):
    folder = tmp_path / "theirs"
    glm_folder(folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["transformer.output_layer.weight"] += 0.1
    save_file(weights, path)
    with pytest.raises(InferenceError, match="its output layer is not its embedding"):
        import_proteinglm(folder, tmp_path / "run", 1)
    del weights["transformer.output_layer.weight"]
    for name in weights:
        if name.endswith("inv_freq"):
            weights[name] = weights[name].half().float()
    save_file(weights, path)
    import_proteinglm(folder, tmp_path / "run", 1)
    assert "rotary frequencies are rounded, by up to 0.0015 rad" in caplog.text
    with pytest.raises(InferenceError, match="run exists; remove it or give a folder"):
        import_proteinglm(folder, tmp_path / "run", 1)
    (folder / "tokenizer.model").write_text("<pad>\n" + "\n".join(STANDARD))
    with pytest.raises(InferenceError, match=r"tokenizer\.model: A has id 1, 2 in the models"):
        import_proteinglm(folder, tmp_path / "another", 1)
    with pytest.raises(InferenceError, match="is no folder; give that of the downloaded model"):
        import_proteinglm(tmp_path / "nothing", tmp_path / "another", 1)
