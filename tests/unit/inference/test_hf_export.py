"""An exported cell, loaded by transformers only, is the model that was trained."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from cell_fixtures import MUP, cell_of, record_of
from finished_runs import SHAPE, finished_run

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.card import model_card
from plm_scaling.inference.embedder import Embedder
from plm_scaling.inference.export import export_cell, hf_weights
from plm_scaling.inference.run import open_run
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.inference.tokenizer import RELEASED_ORDER
from plm_scaling.tokens.format.vocabulary import (
    EOD,
    MASK,
    RESIDUE_ID,
    RESIDUES,
    SOP,
    UNK,
    decode,
    encode,
)

PROMPTS = ["MKV", "ACDEFGHIK", "W"]
PROTEINS = ["MKVLAAGIVGLLLAQ", "mkv XB-Z\nUO", "ACDEFGHIKLMNPQRSTVWYBJOUXZ"]
KINDS = [(o, r) for o in ("clm", "mlm") for r in ("study", "prenorm")]
pytestmark = pytest.mark.slow  # transformers takes seconds to import
kinds = pytest.mark.parametrize(("objective", "recipe"), KINDS)


def rows_for(objective):
    """Three proteins of 39 residues and, for an MLM, the first one with masks."""
    rows = np.random.default_rng(4).integers(1, 21, (3, 40)).astype(np.uint8)
    rows[:, -1] = EOD
    if objective == "clm":
        return rows
    masked = rows[:1].copy()
    masked[:, :-1:7] = MASK
    return np.concatenate([rows, masked])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Each run with its export, named as {objective}-{recipe}."""
    folder = tmp_path_factory.mktemp("export")
    for objective, recipe in KINDS:
        run = folder / "runs" / f"{objective}-{recipe}"
        finished_run(run, objective, recipe, **(MUP if recipe == "prenorm" else {}))
        export_cell(str(run), folder / f"{objective}-{recipe}", threads=1)
    return folder


@pytest.fixture(scope="module")
def loaded(root, folder):
    """What transformers found in the exports; see `hf_reader`."""
    runs = {f"{o}-{r}": (o, (o, r) != ("clm", "prenorm"), rows_for(o).tolist()) for o, r in KINDS}
    task = {"runs": runs, "proteins": PROTEINS, "prompts": PROMPTS}
    (folder / "task.json").write_text(json.dumps(task))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    reader = root / "tests/support/hf_reader.py"
    done = subprocess.run(
        [sys.executable, reader, folder / "task.json", folder / "found.npz"],
        env=environment | {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "found.npz"))


@kinds
def test_logits_are_those_of_the_trained_model(folder, loaded, objective, recipe):
    name = f"{objective}-{recipe}"
    rows = rows_for(objective)
    with open_run(folder / "runs" / name, 1) as run:
        expected = run.logits(rows, np.full(len(rows), rows.shape[1])).numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(loaded[f"{name}/logits"], expected, atol=1e-4)
    np.testing.assert_allclose(loaded[f"{name}/again"], expected, atol=1e-4)
    assert loaded[f"{name}/parameters"] == SHAPE.n_params_total(recipe)
    if f"{name}/explicit" in loaded:
        np.testing.assert_allclose(loaded[f"{name}/explicit"], expected, atol=1e-4)
        np.testing.assert_allclose(loaded[f"{name}/attention sums"], 1, atol=1e-5)


def test_classes_are_stock_where_one_fits(loaded):
    classes = {name: str(loaded[f"{name}/class"]) for name in ("clm-prenorm", "mlm-prenorm")}
    assert classes == {"clm-prenorm": "Qwen3ForCausalLM", "mlm-prenorm": "PlmScalingForMaskedLM"}


@kinds
def test_hidden_states_are_those_of_the_trained_model(folder, loaded, objective, recipe):
    name = f"{objective}-{recipe}"
    proteins = entries(rows_for(objective)[:3])
    with open_run(folder / "runs" / name, 1) as run:
        for layer in range(SHAPE.layers + 1):
            ours = Embedder(run, layer).residues(proteins, np.full(3, 39), lambda n: None)
            theirs = loaded[f"{name}/states/{layer}"][:3, :-1]
            np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, atol=1e-4)
    assert f"{name}/states/{SHAPE.layers + 1}" not in loaded
    np.testing.assert_array_equal(loaded[f"{name}/base"], loaded[f"{name}/states/{SHAPE.layers}"])


@pytest.mark.parametrize("recipe", ["study", "prenorm"])
def test_causal_loss_is_the_score_of_the_protein(folder, loaded, recipe):
    rows = rows_for("clm")
    with open_run(folder / f"runs/clm-{recipe}", 1) as run:
        scores = Scorer(run).nll_per_residue(entries(rows), np.full(3, 39))
    assert loaded[f"clm-{recipe}/loss"] == pytest.approx(scores.mean(), abs=1e-5)


@kinds
def test_padding_does_not_change_logits(loaded, objective, recipe):
    name = f"{objective}-{recipe}"
    for number in range(len(PROTEINS)):
        single = loaded[f"{name}/single/{number}"]
        for side in ("left", "right"):
            padded = loaded[f"{name}/padded {side}/{number}"]
            np.testing.assert_allclose(padded, single, atol=1e-5)


@pytest.mark.parametrize("recipe", ["study", "prenorm"])
def test_generate_continues_each_prompt_with_the_likeliest_residues(folder, loaded, recipe):
    greedy = loaded[f"clm-{recipe}/greedy"]
    np.testing.assert_array_equal(greedy, loaded[f"clm-{recipe}/greedy, no cache"])
    allowed = [*RESIDUE_ID.values(), EOD]
    with open_run(folder / f"runs/clm-{recipe}", 1) as run:
        for prompt, row in zip(PROMPTS, greedy, strict=True):
            tokens = np.trim_zeros(row, "f").astype(np.uint8)
            assert decode(tokens.tobytes()).startswith(prompt)
            logits = run.logits(tokens[None], np.array([len(tokens)]))[0].numpy()
            chosen = np.array(allowed)[logits[:, allowed].argmax(1)]
            np.testing.assert_array_equal(chosen[len(prompt) - 1 : -1], tokens[len(prompt) :])
    sampled = loaded[f"clm-{recipe}/sampled"]
    assert set(sampled[:, max(map(len, PROMPTS)) :].ravel()) <= {0, *allowed}


@kinds
def test_tokenizer_gives_the_ids_of_training(loaded, objective, recipe):
    name = f"{objective}-{recipe}"
    end = [EOD] if objective == "mlm" else []
    for number, protein in enumerate(PROTEINS):
        letters = "".join(protein.split()).upper()  # as the FASTA reader does
        own = list(encode(letters.encode() + b"\n\0"))
        assert list(loaded[f"{name}/ids/{number}"]) == own[:-1] + end
    assert UNK in loaded[f"{name}/ids/1"]
    assert list(loaded[f"{name}/ids/end"]) == [RESIDUE_ID["M"], RESIDUE_ID["K"], EOD]
    assert list(loaded[f"{name}/ids/star"]) == [RESIDUE_ID["M"], RESIDUE_ID["K"], *end]
    assert list(loaded[f"{name}/ids/cut"]) == [RESIDUE_ID[letter] for letter in "MKV"]
    assert list(loaded[f"{name}/ids/mask"]) == [RESIDUE_ID["M"], MASK, RESIDUE_ID["V"]]
    assert str(loaded[f"{name}/text"]) == PROTEINS[0]


def test_card_has_the_facts_of_the_record(folder):
    card = (folder / "mlm-study/README.md").read_text()
    record = json.loads((folder / "runs/mlm-study/result.json").read_text())
    for fact in (
        record["cell"],
        "15 %",
        "`token`",
        "| valid | 2.5000 | 12.182 |",
        "| ood | 2.9000 |",
        "1e+09",
    ):
        assert fact in card


def test_card_says_what_the_record_lacks():
    cell = cell_of("clm", SHAPE)
    unknown = {"flops_exact": None, "data_sha256": None, "held_out_losses": {"valid": None}}
    card = model_card(cell, record_of(cell, **unknown), "0")
    assert "| valid | missing | missing |" in card
    assert card.count("missing") == 4
    assert not re.search(r"\b(nan|None)\b", card)
    earlier = model_card(cell, record_of(cell, held_out_losses=None), "0")
    assert "| valid | 2.5000 | 12.182 |" in earlier


@pytest.mark.parametrize("fault", ["model_card", "write_json", "hf_weights"])
def test_export_that_fails_leaves_nothing(folder, tmp_path, monkeypatch, fault):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(f"plm_scaling.inference.export.{fault}", fail)
    with pytest.raises(OSError, match="disk full"):
        export_cell(str(folder / "runs/clm-study"), tmp_path / "out", threads=1)
    assert not list(tmp_path.iterdir())


def test_export_replaces_no_folder(folder, tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(InferenceError, match="exists"):
        export_cell(str(folder / "runs/clm-study"), tmp_path, threads=1)
    assert (tmp_path / "mine").exists()


def test_unknown_weight_is_refused():
    state = {"decoder.layers.0.mlp.router.weight": torch.ones(2)}
    with pytest.raises(
        InferenceError, match=r"no place for weight decoder\.layers\.0\.mlp\.router"
    ):
        hf_weights(state, SHAPE)


def entries(rows):
    return b"".join(decode(row[:-1].tobytes()).encode() + b"\n\0" for row in rows)


def test_export_in_the_order_of_the_released_models_is_the_same_model(folder, tmp_path):
    from transformers import AutoTokenizer

    from plm_scaling.inference.hf.modeling_plm_scaling import PlmScalingForMaskedLM

    export_cell(str(folder / "runs/mlm-study"), tmp_path / "out", threads=1, released_order=True)
    tables = []
    for path in (folder / "mlm-study", tmp_path / "out"):
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = PlmScalingForMaskedLM.from_pretrained(path)
        tokens = tokenizer("MKVLA<mask>GIVJX", return_tensors="pt")
        ids = tokenizer.convert_tokens_to_ids([*RESIDUES, "<mask>", "<eod>", "<pad>", "<unk>"])
        tables.append(model(**tokens).logits[..., ids].detach())
    torch.testing.assert_close(*tables)
    assert tokenizer.convert_ids_to_tokens(range(1, 26)) == list("LAGVSERTIDPKQNFYMHWCXBUZO")
    assert sorted(RELEASED_ORDER) == sorted(RESIDUES)


@kinds
def test_start_token_is_added_scored_after_and_generated_from(tmp_path, objective, recipe):
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    from plm_scaling.inference.hf import modeling_plm_scaling as own

    finished_run(tmp_path / "run", objective, recipe, start_token=True)
    export_cell(str(tmp_path / "run"), tmp_path / "out", threads=1)
    causal = objective == "clm"
    code = own.PlmScalingForCausalLM if causal else own.PlmScalingForMaskedLM
    kind = Qwen3ForCausalLM if (objective, recipe) == ("clm", "prenorm") else code
    model = kind.from_pretrained(tmp_path / "out")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")("MKVLA", return_tensors="pt")
    residues = [RESIDUE_ID[letter] for letter in "MKVLA"]
    assert tokens["input_ids"].tolist() == [[SOP, *residues, *[EOD] * (not causal)]]
    output = model(**tokens, output_hidden_states=True, labels=tokens["input_ids"])
    chunk = b"MKVLA\n\0", np.array([5])
    with open_run(tmp_path / "run", 1) as run:
        means = Embedder(run).means(*chunk, lambda n: None)
        nll = Scorer(run).nll_per_residue(*chunk)
    theirs = output.hidden_states[-1][:, 1:6].mean(1).detach()
    np.testing.assert_allclose(means, theirs, atol=1e-4)
    if causal:
        assert nll[0] == pytest.approx(output.loss.item(), abs=1e-5)
        assert model.generate(max_new_tokens=3)[0, 0] == SOP
    assert "`<sop>`" in (tmp_path / "out/README.md").read_text()
