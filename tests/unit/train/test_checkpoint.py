"""One process: a checkpoint is whole, is what was saved, and a damaged one is never used."""

import json
import logging
import math
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cell_fixtures import cell_of
from checkpointing import (
    IDENTITY,
    SHAPE,
    Training,
    assert_same,
    filled,
    finished_run,
    load_filled,
    sign,
)
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.validation import StrictHandling
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, BytesStorageMetadata

from plm_scaling.common.errors import PlmScalingError, TrainError
from plm_scaling.study.shapes import Shape
from plm_scaling.train.checkpoint.store import load_checkpoint, load_weights, save_checkpoint
from plm_scaling.train.distributed.process import cpu_process

FILES = [".metadata", "__0_0.distcp", "checkpoint.json", "common.pt", "metadata.json"]


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """A process of one; what it forces to disk, in order, which is not done: it takes long."""
    done = []

    def fsync(descriptor):
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    with cpu_process(1, 1):
        yield done


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def save(folder, *steps, identity=IDENTITY, kept=2):
    for step in steps:
        save_checkpoint(folder, step, identity, {"losses": [1 / step]}, filled(step), kept)


def load(folder, identity=IDENTITY):
    """The step that is read, after a look at what it holds; 0: none."""
    step, position = load_filled(folder, identity)
    assert position == ({"losses": [1 / step]} if step else {})
    return step


@pytest.mark.parametrize("recipe", ["study", "prenorm"])
def test_weights_and_moments_are_restored_bit_for_bit(tmp_path, recipe):
    cell = cell_of("clm", SHAPE, recipe)
    training = Training(cell)
    saved = training.tensors()
    position = {"step": 7, "losses": [0.1 + 0.2, 1e-300], "mean": math.pi}
    save_checkpoint(tmp_path / "new/checkpoints", 7, IDENTITY, position, training.state())
    assert_same(training.tensors(), saved)
    other = Training(cell, seed=2, stepped=False)
    step, found, state = load_checkpoint(tmp_path / "new/checkpoints", IDENTITY, other.state)
    other.load(state)
    assert (step, found) == (7, position)
    assert_same(other.tensors(), saved)


def test_same_state_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        save_checkpoint(tmp_path / name, 1, IDENTITY, {}, Training().state())
    one, two = ((tmp_path / name / "step-000000001") for name in ("one", "two"))
    assert names(one) == names(two)
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names(one))
    assert str(tmp_path).encode() not in (one / ".metadata").read_bytes()


def test_checkpoint_is_readable_by_stock_megatron(tmp_path):
    training = Training()
    saved = training.tensors()
    save_checkpoint(tmp_path, 7, IDENTITY, {}, training.state())
    folder = str(tmp_path / "step-000000007")
    other = Training(seed=2)
    template = {"model": other.model.sharded_state_dict()}
    ignore = StrictHandling.IGNORE_ALL  # of the fp8 state, which is empty
    read = dist_checkpointing.load(template, folder, strict=ignore)
    other.model.load_state_dict(read["model"], strict=False)
    for name, weight in other.model.named_parameters():
        assert torch.equal(weight, saved[name])
    assert read["optimizer"] == {"step": 1}
    plain = dist_checkpointing.load_plain_tensors(folder)
    key = "decoder.layers.mlp.linear_fc2.weight"
    for number in range(SHAPE.layers):
        name = f"decoder.layers.{number}.mlp.linear_fc2.weight"
        assert torch.equal(plain[key][number], saved[name])
        assert torch.equal(
            plain[f"optimizer.state.exp_avg.{key}"][number], saved[f"exp_avg {name}"]
        )


def test_every_file_is_on_disk_before_the_folder_gets_its_name(tmp_path, synced, monkeypatch):
    rename = Path.rename

    def note(path, to):
        synced.append(f"rename {path.name}")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", note)
    save(tmp_path, 1)
    before = synced.index("rename .step-000000001.tmp")
    written = {*FILES, ".step-000000001.tmp"} - {".metadata"} | {".metadata.tmp"}
    assert set(synced[:before]) == written | {"rename .metadata.tmp"}
    assert synced[before - 1] == ".step-000000001.tmp"  # names of files, after the files
    assert synced[before + 1 :] == [tmp_path.name]


def test_last_checkpoints_are_kept_and_remains_of_killed_saves_removed(tmp_path):
    (tmp_path / ".step-000000003.tmp").mkdir()
    (tmp_path / ".step-000000003.tmp/__0_0.distcp").write_bytes(b"half")
    save(tmp_path, 1, 2, 9)
    assert names(tmp_path) == ["step-000000002", "step-000000009"]
    save(tmp_path, 10, 11, kept=3)
    assert names(tmp_path) == ["step-000000009", "step-000000010", "step-000000011"]
    assert load(tmp_path) == 11
    assert load(tmp_path / "nowhere") == 0


def test_step_that_is_already_saved_is_not_written_again(tmp_path):
    save(tmp_path, 1, 2)
    save_checkpoint(tmp_path, 2, IDENTITY, {}, filled(5))
    assert load(tmp_path) == 2


def test_position_that_json_cannot_represent_is_refused_and_leaves_nothing(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, 2, IDENTITY, {"loss": math.nan}, filled(2))
    assert names(tmp_path) == ["step-000000001"]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("damage", [flip, cut, os.unlink])
@pytest.mark.parametrize("name", FILES)
def test_damaged_newest_checkpoint_is_moved_aside_and_the_one_before_loaded(
    tmp_path, caplog, name, damage
):
    save(tmp_path, 1, 2)
    assert names(tmp_path / "step-000000002") == FILES
    damage(tmp_path / "step-000000002" / name)
    assert load(tmp_path) == 1
    assert names(tmp_path) == ["step-000000001", "step-000000002.damaged"]
    [first, second] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"step-000000002 is damaged: {name} " in first or f" {name} " in first
    assert "step-000000001" in second


def test_without_an_intact_checkpoint_training_restarts_from_scratch_with_a_warning(
    tmp_path, caplog
):
    save(tmp_path, 1, 2)
    (tmp_path / "step-000000002.damaged").mkdir()  # there already
    for path in tmp_path.glob("step-*/common.pt"):
        cut(path)
    assert load(tmp_path) == 0
    assert "no intact checkpoint: training restarts from scratch" in caplog.text
    assert names(tmp_path) == [
        "step-000000001.damaged",
        "step-000000002.damaged",
        "step-000000002.damaged-2",
    ]


def test_checkpoint_of_another_cell_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(TrainError, match="of cell 0123456789, not of abc"):
        load(tmp_path, {**IDENTITY, "cell": "abc"})
    assert load(tmp_path) == 1


def test_what_an_earlier_version_wrote_on_gpus_is_refused_and_on_cpus_is_read(tmp_path):
    save(tmp_path / "cpu", 1, identity={**IDENTITY, "backend": "cpu"})
    assert load(tmp_path / "cpu") == 1
    save(tmp_path / "cuda", 1, identity={**IDENTITY, "backend": "cuda"})
    with pytest.raises(TrainError, match=r"an earlier version wrote it on GPUs.*; delete .*/cuda "):
        load(tmp_path / "cuda")


@pytest.mark.parametrize(
    ("key", "message"), [("data_sha256", "other data"), ("stage_version", "another version")]
)
def test_other_data_or_version_supersedes_the_whole_folder(tmp_path, caplog, key, message):
    folder = tmp_path / "checkpoints"
    for number in range(2):
        save(folder, 1, 2, identity={**IDENTITY, key: f"old {number}"})
        assert load(folder) == 0
    assert names(tmp_path) == ["checkpoints-superseded", "checkpoints-superseded-2"]
    assert load(tmp_path / "checkpoints-superseded-2", {**IDENTITY, key: "old 1"}) == 2
    assert message in caplog.text


def test_checkpoint_of_another_shape_is_refused_naming_both(tmp_path):
    save_checkpoint(tmp_path, 1, IDENTITY, {}, Training().state())
    deeper = Training(cell_of("clm", replace(SHAPE, layers=4)))
    with pytest.raises(TrainError, match=r"weight is of shape \[3, .* this model's of \[4, "):
        load_checkpoint(tmp_path, IDENTITY, deeper.state)


class Attack:
    """Runs code when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def attack_index(path, mark):
    (path / ".metadata").write_bytes(pickle.dumps(Attack(mark)))


def attack_common(path, mark):
    torch.save({"step": Attack(mark)}, path / "common.pt")


def attack_tensor(path, mark, bytes_entry=False):
    """The slice of one tensor, and its entry in the index, become a pickle."""
    metadata = FileSystemReader(path).read_metadata()
    (index,) = [index for index in metadata.storage_data if index.fqn == "b"]
    info = metadata.storage_data[index]
    tensors = path / info.relative_path
    info.offset = tensors.stat().st_size
    with tensors.open("ab") as file:
        torch.save(Attack(mark), file)
        info.length = file.tell() - info.offset
    if bytes_entry:
        metadata.state_dict_metadata["b"] = BytesStorageMetadata()
    metadata.storage_meta = None
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


def attack_bytes(path, mark):
    attack_tensor(path, mark, bytes_entry=True)


def point_elsewhere(path, mark):
    metadata = FileSystemReader(path).read_metadata()
    for info in metadata.storage_data.values():
        info.relative_path = "../other/__0_0.distcp"
    metadata.storage_meta = None
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


class Taken:
    """Unpickled by getattr, as members of enumerations are that Python 3.11.0 to 3.11.3 wrote."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name

    def __reduce__(self):
        return getattr, (self.kind, self.name)


def rewrite_index(path, change):
    metadata = FileSystemReader(path).read_metadata()
    metadata.storage_meta = None
    change(metadata)
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


def attack_member(path, mark):
    taken = Taken(type(FileSystemReader(path).read_metadata()), "__init__")
    rewrite_index(path, lambda metadata: setattr(metadata, "planner_data", taken))


def test_index_written_by_an_earlier_python_is_read(tmp_path):
    """Whichever Python runs this, members are pickled by value and by name."""
    save(tmp_path / "checkpoints", 1)
    path = tmp_path / "checkpoints/step-000000001"
    member = _MEM_FORMAT_ENCODING.TORCH_CONTIGUOUS_FORMAT
    by_name = Taken(_MEM_FORMAT_ENCODING, member.name)
    rewrite_index(path, lambda metadata: setattr(metadata, "planner_data", [by_name, member]))
    sign(path)
    assert load(tmp_path / "checkpoints") == 1


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (attack_member, r"\.metadata asks for __init__ of"),
        (attack_index, r"\.metadata asks for io\.open"),
        (attack_common, r"common\.pt holds more than numbers"),
        (attack_tensor, "io.open"),
        (attack_bytes, r"b is of shape \[\]"),
        (point_elsewhere, r"points to \.\./other/__0_0\.distcp"),
    ],
)
def test_checkpoint_that_brings_code_is_refused_and_its_code_not_run(tmp_path, attack, message):
    save(tmp_path / "checkpoints", 1)
    attack(tmp_path / "checkpoints/step-000000001", tmp_path / "mark")
    sign(tmp_path / "checkpoints/step-000000001")
    with pytest.raises(TrainError, match=message):
        load(tmp_path / "checkpoints")
    assert not (tmp_path / "mark").exists()


def test_final_weights_go_into_a_model_of_either_objective(tmp_path):
    cell = cell_of("clm", SHAPE)
    saved = finished_run(tmp_path, cell).tensors()
    other = Training(cell_of("mlm", SHAPE), seed=2, stepped=False)
    load_weights(tmp_path, other.model)
    for name, weight in other.model.named_parameters():
        assert torch.equal(weight, saved[name])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "result.json").unlink(), "has no result.json"),
        (lambda run: (run / "result.json").write_text("{"), "is no record of a cell"),
        (lambda run: (run / "result.json").write_text("[]"), "is no record of a cell"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "step-000000010 is missing"),
        (lambda run: flip(run / "checkpoints/step-000000010/.metadata"), r"\.metadata is altered"),
    ],
)
def test_unfinished_or_damaged_run_is_refused_and_not_changed(tmp_path, damage, message):
    finished_run(tmp_path, cell_of("clm", SHAPE))
    damage(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PlmScalingError, match=message):
        load_weights(tmp_path, Training().model)
    assert sorted(tmp_path.rglob("*")) == before


def test_diverged_or_inconsistent_run_is_refused(tmp_path):
    finished_run(tmp_path / "wild", cell_of("clm", SHAPE), status="diverged")
    with pytest.raises(PlmScalingError, match=r"the run diverged \(loss 9"):
        load_weights(tmp_path / "wild", Training().model)
    finished_run(tmp_path / "run", cell_of("clm", SHAPE))
    record = json.loads((tmp_path / "run/result.json").read_text())
    record["config"]["seed"] = 2
    (tmp_path / "run/result.json").write_text(json.dumps(record))
    with pytest.raises(PlmScalingError, match="put together by hand"):
        load_weights(tmp_path / "run", Training().model)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (cell_of("clm", Shape(3, 20, 42, 2)), r"of shape \[128, 16\], this model's of \[128, 20\]"),
        (cell_of("clm", SHAPE, "prenorm"), r"has no tensor .*layernorm.*, which this model has"),
    ],
)
def test_weights_of_another_shape_or_recipe_are_refused(tmp_path, other, message):
    finished_run(tmp_path, cell_of("clm", SHAPE))
    with pytest.raises(TrainError, match=message):
        load_weights(tmp_path, Training(other).model)


def test_weights_absent_from_the_model_are_refused(tmp_path):
    finished_run(tmp_path, cell_of("clm", SHAPE, "prenorm"))
    model = Training(cell_of("clm", SHAPE)).model
    with pytest.raises(TrainError, match="another kind"):
        load_weights(tmp_path, model)
