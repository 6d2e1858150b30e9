"""Which folder is which model, and what is refused with what to do."""

import importlib.util
import json
import shlex

import pytest
import torch
from finished_runs import finished_run
from public_models import esm2_folder, glm_folder, progen2_folder
from safetensors.torch import load_file, save_file

from plm_scaling.common.errors import InferenceError, RunsError
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.scoring.scorer import clm_scorer


def refused(folder, message):
    with pytest.raises(InferenceError, match=message), open_model(str(folder), 1):
        pass


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_runs_are_opened_by_folder_and_by_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = finished_run(tmp_path / "results/demo/runs/0123456789")
    for name in ("results/demo/runs/0123456789", "0123456789"):
        with open_model(name, 1) as model:
            assert (model.kind, model.name) == ("cell", f"clm test {cell.cell}")
            assert [*model.facts] == ["cell", "objective", "size", "weights"]
    (tmp_path / "results/demo/runs/0123456789/result.json").unlink()
    with pytest.raises(RunsError, match="not trained to its end"), open_model("0123456789", 1):
        pass


def test_folders_of_nothing_known_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, r"config\.json is not JSON")
    (tmp_path / "config.json").write_text("[]")
    refused(tmp_path, r"config\.json is not a JSON object")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    refused(tmp_path, r"model_type is 'bert'; what can be read is esm, progen \(ESM-2 and ProGen2")
    (tmp_path / "config.json").write_text('{"model_type": "plm_scaling"}')
    refused(tmp_path, "is an export of a run; give the run itself")
    (tmp_path / "config.json").unlink()
    refused(tmp_path, r"has neither result\.json, as a run, nor config\.json, as a model")
    refused(tmp_path / "nothing", "neither a folder nor the id of a cell")


def test_released_model_of_the_study_is_to_be_imported(tmp_path):
    glm_folder(tmp_path / "theirs")
    refused(tmp_path / "theirs", r"plm-scaling import .*theirs --from proteinglm --out RUN")


def test_pickles_are_refused_with_the_command_that_converts_them(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    weights = progen2_folder(folder)
    with open_model(str(folder), 1) as model:
        expected = model.weights_sha256
    weights["tied.weight"] = weights["lm_head.weight"]  # what shares memory is not for safetensors
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with (
        pytest.raises(InferenceError, match="pickles, which can run code") as error,
        open_model(str(folder), 1),
    ):
        pass
    command = str(error.value).split("convert them: ")[1]
    python, option, code = shlex.split(command)
    assert (python, option) == ("python", "-c")
    exec(code, {})  # here, since a process would take seconds to import torch
    refused(folder, r"have, besides those of the model, tied\.weight \(1 in all\)")
    weights = load_file(folder / "model.safetensors")
    del weights["tied.weight"]
    save_file(weights, folder / "model.safetensors")
    with open_model(str(folder), 1) as model:
        assert model.weights_sha256 == expected


def test_damaged_progen2_is_refused(tmp_path):
    folder = tmp_path / "model"
    progen2_folder(folder)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(folder, r"model\.safetensors is damaged .*download it again")
    path.unlink()
    refused(folder, r"has config\.json but no weights")
    path.write_bytes(whole)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, r"names files that are not there: model-1\.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    for changes, message in (
        ({"n_layer": 3}, r"lack transformer\.h\.2\.attn\.out_proj\.weight"),
        ({"n_inner": 100}, r"mlp\.fc_in\.\w+ is \[128.*\], by config\.json \[100"),
        ({"n_layer": "2"}, "key n_layer is '2', not a whole number"),
        ({"embed_dim": None}, "key embed_dim or n_embd is missing; this is another kind of model"),
        ({"n_head": 4}, "4 heads of width 32 are not those of a ProGen2"),
        ({"activation_function": "relu"}, "is 'relu', in ProGen2 gelu_new"),
    ):
        before = (folder / "config.json").read_text()
        change_config(folder, **changes)
        refused(folder, message)
        (folder / "config.json").write_text(before)
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"A": 6}}}')
    refused(folder, r"tokenizer\.json: 1 has id None, 3 in the models that are known")


@pytest.mark.slow
def test_damaged_esm2_is_refused(tmp_path, monkeypatch):
    folder = esm2_folder(tmp_path / "esm2")
    with (
        pytest.raises(InferenceError, match="is an MLM: only a causal model"),
        clm_scorer(str(folder), 1),
    ):
        pass
    (folder / "vocab.txt").write_text("<cls>\n<eos>\n")
    refused(folder, r"vocab\.txt: <eos> has id 1, 2 in the models")
    (folder / "vocab.txt").unlink()
    change_config(folder, position_embedding_type="absolute")
    refused(folder, r"an ESM with rotary positions that does not fold is read \(ESM-2\)")
    change_config(folder, position_embedding_type="rotary")
    change_config(folder, intermediate_size=41)
    refused(folder, "the weights in .* lack .*, or it has another shape")
    change_config(folder, intermediate_size=40)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-10])
    refused(folder, r"model\.safetensors is damaged .*download it again")
    (folder / "model.safetensors").write_bytes(whole)
    weights = load_file(folder / "model.safetensors")
    lacking = "esm.encoder.layer.1.output.dense.weight"
    kept = {name: value for name, value in weights.items() if name != lacking}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, rf"the weights in .* lack {lacking}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        refused(folder, r"needs transformers: pip install 'plm-scaling\[public-models\]'")


def test_threads_are_as_before(tmp_path):
    progen2_folder(tmp_path / "model")
    before = torch.get_num_threads()
    with open_model(str(tmp_path / "model"), before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
