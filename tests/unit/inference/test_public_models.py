"""ESM-2 and ProGen2 with random weights give what plain forward passes give."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from public_models import (
    ESM2_VOCABULARY,
    PROGEN2_VOCABULARY,
    esm2_folder,
    progen2_folder,
    progen2_forward,
)
from safetensors.torch import load_file, save_file

from plm_scaling.inference.embed import embed_fasta
from plm_scaling.inference.embedder import Embedder
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.scoring.score import score_fasta
from plm_scaling.inference.scoring.scorer import Scorer, clm_scorer
from plm_scaling.tokens.format.vocabulary import STANDARD

TEXTS = ["MKVLAAGIVG", "W", "ACDEFGHIKLMNPQRSTVWY"]


def chunk(texts):
    lengths = np.array([len(text) for text in texts])
    return b"".join(text.encode() + b"\n\0" for text in texts), lengths


def split(values, texts):
    return np.split(values, np.cumsum([len(text) for text in texts])[:-1])


def long_text(n):
    return "".join(np.random.default_rng(2).choice(list(STANDARD), n))


@pytest.fixture(scope="module")
def progen2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "progen2-tiny"
    return folder, progen2_folder(folder)


def progen2_tokens(text, first="1", last=""):
    return torch.tensor([PROGEN2_VOCABULARY[token] for token in [*first, *text, *last]])


def test_progen2_scores_each_residue_after_the_first_token_and_those_before(progen2):
    folder, weights = progen2
    with clm_scorer(str(folder), 1) as scorer:
        own, _ = scorer.scores(*chunk(TEXTS))
        alone = dataclasses.replace(scorer, amino_acids=True).scores(*chunk(TEXTS))[0]
        assert scorer.name.startswith("clm progen2 progen2-tiny ")
    residues = [PROGEN2_VOCABULARY[letter] for letter in STANDARD]
    for text, found, renormalised in zip(
        TEXTS, split(own, TEXTS), split(alone, TEXTS), strict=True
    ):
        tokens = progen2_tokens(text)
        logits = progen2_forward(weights, tokens)[0][:-1]
        targets = tokens[1:, None]
        expected = logits.log_softmax(1).gather(1, targets)[:, 0]
        np.testing.assert_allclose(found, expected, atol=2e-5)
        expected = logits.gather(1, targets)[:, 0] - logits[:, residues].logsumexp(1)
        np.testing.assert_allclose(renormalised, expected, atol=2e-5)


def test_progen2_reads_from_the_end_after_the_other_token(progen2):
    folder, weights = progen2
    text = TEXTS[0]
    with open_model(str(folder), 1) as model:
        own, _ = Scorer(model.backwards()).scores(*chunk([text[::-1]]))
        assert Scorer(model.backwards()).name != Scorer(model).name
        assert list(model.tokens(b"MK\n\0")) == list(progen2_tokens("MK", "", "2"))
    tokens = progen2_tokens(text[::-1], first="2")
    logs = progen2_forward(weights, tokens)[0][:-1].log_softmax(1)
    np.testing.assert_allclose(own, logs.gather(1, tokens[1:, None])[:, 0], atol=2e-5)


def test_progen2_states_and_maps_are_those_of_the_plain_model(progen2):
    folder, weights = progen2
    with open_model(str(folder), 1) as model:
        pieces = model.windows(np.array([10]))
        assert (pieces.first[0], pieces.last[0], pieces.size[0]) == (1, 11, 11)
        rows = np.zeros((2, 15), np.uint8)
        rows[0, :11] = rows[1, :11] = progen2_tokens(TEXTS[0])
        rows[1, 11:] = 7  # what follows changes nothing
        sizes = np.array([11, 11])
        _, states, maps = progen2_forward(weights, progen2_tokens(TEXTS[0]))
        for layer, expected in enumerate(states):
            for found in model.states(rows, sizes, layer)[:, :11]:
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        for found, expected in zip(model.attentions(rows, sizes), maps, strict=True):
            assert found.shape == (2, 8, 15, 15)
            torch.testing.assert_close(found[0, :, :11, :11], expected, atol=1e-5, rtol=1e-4)
            assert (found[0].triu(1) == 0).all()


def test_progen2_reads_a_long_protein_in_rows_that_all_begin_with_the_first_token(progen2):
    folder, weights = progen2
    text = long_text(100)
    with open_model(str(folder), 1) as model:
        own, _ = Scorer(model).scores(*chunk([text]))
    # Rows of 64 tokens: 1 and 63 residues; they begin every 31 residues, or end where it does.
    expected = np.empty(100)
    for begin, first, last in ((0, 0, 63), (31, 63, 94), (37, 94, 100)):
        tokens = progen2_tokens(text[begin : begin + 63])
        logs = progen2_forward(weights, tokens)[0][:-1].log_softmax(1)
        of_row = logs.gather(1, tokens[1:, None])[:, 0].numpy()
        expected[first:last] = of_row[first - begin : last - begin]
    np.testing.assert_allclose(own, expected, atol=3e-5)


def test_letters_that_a_model_lacks_have_no_probability(progen2):
    with open_model(str(progen2[0]), 1) as model:
        own, _ = Scorer(model).scores(*chunk(["MJBK"]))
        only, _ = Scorer(model, amino_acids=True).scores(*chunk(["MJBK"]))
    assert [*np.isnan(own)] == [False, True, False, False]
    assert [*np.isnan(only)] == [False, True, True, False]


@pytest.fixture(scope="module")
def esm2(tmp_path_factory):
    return esm2_folder(tmp_path_factory.mktemp("models") / "esm2-tiny")


def esm2_tokens(text, begin=True, end=True):
    tokens = [*(["<cls>"] if begin else []), *text, *(["<eos>"] if end else [])]
    return torch.tensor([[ESM2_VOCABULARY.index(token) for token in tokens]])


@pytest.fixture(scope="module")
def plain_esm2(esm2):
    from transformers import EsmForMaskedLM

    return EsmForMaskedLM.from_pretrained(esm2, attn_implementation="eager").eval()


def esm2_masked(model, tokens, column):
    """Log-probabilities at a column of one row where it is masked."""
    masked = tokens.clone()
    masked[0, column] = ESM2_VOCABULARY.index("<mask>")
    with torch.no_grad():
        return model(masked).logits[0, column].log_softmax(0)


@pytest.mark.slow
def test_esm2_scores_each_residue_where_only_it_is_masked(esm2, plain_esm2):
    with open_model(str(esm2), 1) as model:
        own, marginals = Scorer(model).scores(*chunk(TEXTS), marginals=True)
        assert (model.context_length, model.mask_ratio, model.objective) == (64, 0.15, "mlm")
    order = [ESM2_VOCABULARY.index(letter) for letter in STANDARD]
    found = zip(TEXTS, split(own, TEXTS), split(marginals, TEXTS), strict=True)
    for text, logs, of_all in found:
        tokens = esm2_tokens(text)
        for place in range(len(text)):
            expected = esm2_masked(plain_esm2, tokens, place + 1)
            assert logs[place] == pytest.approx(float(expected[tokens[0, place + 1]]), abs=2e-5)
            np.testing.assert_allclose(of_all[place], expected[order], atol=2e-5)


@pytest.mark.slow
def test_esm2_reads_a_long_protein_in_rows_without_ends_that_are_none(esm2, plain_esm2):
    text = long_text(100)
    with open_model(str(esm2), 1) as model:
        own, _ = Scorer(model).scores(*chunk([text]))
    whole = esm2_tokens(text)
    # Rows of 64 of the 102 tokens begin at 0, 32 and 38; borders lie in the middle of overlaps.
    for begin, first, last in ((0, 1, 48), (32, 48, 67), (38, 67, 101)):
        for place in {first, last - 1}:
            row = whole[:, begin : begin + 64]
            expected = esm2_masked(plain_esm2, row, place - begin)[whole[0, place]]
            assert own[place - 1] == pytest.approx(float(expected), abs=2e-5)


@pytest.mark.slow
def test_esm2_states_and_maps_are_those_of_the_class_in_any_batch(esm2, plain_esm2):
    sizes = np.array([12, 3, 22])
    rows = np.zeros((3, 22), np.uint8)
    for row, text in zip(rows, TEXTS, strict=True):
        row[: len(text) + 2] = esm2_tokens(text)
    rows[0, 4] = ESM2_VOCABULARY.index("<mask>")  # token dropout goes by the row's own tokens
    with open_model(str(esm2), 1) as model:
        logits = model.logits(rows, sizes)
        states = [model.states(rows, sizes, layer) for layer in range(3)]
        maps = list(model.attentions(rows, sizes))
        torch.testing.assert_close(model.logits(rows, sizes), logits)  # fast attention is back
    for number, size in enumerate(sizes):
        row = torch.from_numpy(rows[number : number + 1, :size].astype(np.int64))
        with torch.no_grad():
            plain = plain_esm2(row, output_hidden_states=True, output_attentions=True)
        close = {"atol": 2e-5, "rtol": 1e-4}
        torch.testing.assert_close(logits[number, :size], plain.logits[0], **close)
        for found, expected in zip(states, plain.hidden_states, strict=True):
            torch.testing.assert_close(found[number, :size], expected[0], **close)
        for found, expected in zip(maps, plain.attentions, strict=True):
            torch.testing.assert_close(found[number, :, :size, :size], expected[0], **close)
            assert found.dtype == torch.float32


@pytest.mark.slow
def test_esm2_has_the_rotary_frequencies_that_its_folder_stores(esm2, tmp_path):
    """Published folders have them in each layer, rounded; transformers 5 has one buffer."""
    copy = tmp_path / "rounded"
    copy.mkdir()
    for path in esm2.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = load_file(copy / "model.safetensors")
    weights = {name: value for name, value in weights.items() if "inv_freq" not in name}
    stored = torch.tensor([1.0, 0.1, 0.02, 0.003])
    for layer in range(2):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        weights[name] = stored.clone()
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with open_model(str(copy), 1) as model:
        torch.testing.assert_close(model.network.esm.rotary_embeddings.inv_freq, stored)
        rounded, _ = Scorer(model).scores(*chunk(TEXTS))
    with open_model(str(esm2), 1) as model:
        exact, _ = Scorer(model).scores(*chunk(TEXTS))
    assert np.abs(rounded - exact).max() > 1e-4


@pytest.mark.slow
def test_score_and_embed_take_public_models(esm2, progen2, tmp_path):
    fasta = tmp_path / "proteins.fasta"
    fasta.write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(TEXTS)))
    out = tmp_path / "scores.parquet"
    score_fasta(str(esm2), [fasta], out, True, True, 1, amino_acids=True)
    table = pq.read_table(out)
    assert table["id"].to_pylist() == ["p0", "p1", "p2"]
    facts = table.schema.metadata
    assert facts[b"kind"] == b"esm2"
    assert facts[b"method"] == b"masked, fast, amino acids alone"
    sums = [np.exp(row).sum() for rows in table["marginals"].to_pylist() for row in rows]
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    with open_model(str(esm2), 1) as model:
        means = Embedder(model, 1).means(*chunk(TEXTS), lambda n: None)
        assert facts[b"weights"].decode() == model.weights_sha256
    embed_fasta(str(esm2), [fasta], tmp_path / "e.parquet", 1, False, 1)
    found = pq.read_table(tmp_path / "e.parquet")["embedding"].to_pylist()
    np.testing.assert_allclose(found, means, atol=1e-5)
    score_fasta(str(progen2[0]), [fasta], tmp_path / "p.parquet", False, True, 1)
    logs = pq.read_table(tmp_path / "p.parquet")["log_probability"].to_pylist()
    assert None not in [log for row in logs for log in row]  # the first residue has one, too


def test_config_of_salesforce_names_the_width_otherwise(tmp_path, progen2):
    folder = tmp_path / "other"
    progen2_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    config["n_embd"] = config.pop("embed_dim")
    (folder / "config.json").write_text(json.dumps(config))
    with open_model(str(folder), 1) as one, open_model(str(progen2[0]), 1) as other:
        assert one.weights_sha256 == other.weights_sha256
