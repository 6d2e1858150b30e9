"""Opening finished runs, and refusing others."""

import json
import shutil

import pytest
from finished_runs import finished_run

from plm_scaling.common.errors import InferenceError, PlmScalingError, RunsError
from plm_scaling.inference.find import find_run
from plm_scaling.inference.run import open_run


def spoil_weights(folder):
    path = max(folder.glob("checkpoints/step-*/*"), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_seed(folder):
    path = folder / "result.json"
    record = json.loads(path.read_text())
    record["config"]["seed"] = 2
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "result.json").unlink(), "has no result.json"),
        (lambda folder: (folder / "result.json").write_text("{"), "no record of a cell"),
        (lambda folder: (folder / "result.json").write_text("{}"), "no record of a cell"),
        (lambda folder: shutil.rmtree(folder / "checkpoints"), "is missing"),
        (spoil_weights, "is damaged"),
        (change_seed, "put together by hand"),
    ],
)
def test_damaged_run_is_refused_and_not_changed(tmp_path, damage, message):
    finished_run(tmp_path / "run")
    damage(tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(PlmScalingError, match=message), open_run(tmp_path / "run", 1):
        pass
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_diverged_run_is_refused(tmp_path):
    finished_run(tmp_path / "wild", status="diverged")
    with (
        pytest.raises(RunsError, match=r"diverged \(loss 9"),
        open_run(tmp_path / "wild", 1),
    ):
        pass


def test_run_is_found_by_folder_or_by_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/demo/runs/0123456789"
    folder.mkdir(parents=True)
    assert find_run(str(folder)) == folder
    assert find_run("0123456789").resolve() == folder
    with pytest.raises(InferenceError, match="neither a folder nor the id"):
        find_run("0123456780")
    (tmp_path / "results/other/runs/0123456789").mkdir(parents=True)
    with pytest.raises(InferenceError, match=r"results/demo/.*results/other/.*one of these"):
        find_run("0123456789")
