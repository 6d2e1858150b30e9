"""A cell trains, resumes bit by bit, diverges on record, and refuses what is not its own."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from corpora import write_corpus

from plm_scaling.config.load import read_config
from plm_scaling.errors import TokenError, TrainError
from plm_scaling.sweep.cells import make_cell
from plm_scaling.sweep.ladder import Shape
from plm_scaling.sweep.layout import Layout
from plm_scaling.train.cell import train_cell

UNBROKEN = 10_000.0  # seconds between checkpoints: longer than any test


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cell(root):
    config = read_config(root / "config/demo.yaml")
    made = make_cell(config, "clm", "demo", "study", "tiny", Shape(1, 16, 42, 2), 2e9, seed=1)
    steps = 60
    return dataclasses.replace(
        made,
        mixture={"a": 0.5, "b": 0.5},
        context_length=64,
        batch_rows=4,
        steps=steps,
        tokens=steps * 4 * 64,
        warmup_steps=5,
        evaluations=6,
        valid_rows=16,
        peak_learning_rate=1e-2,
    )


def train(cell, manifest, folder, checkpoint_seconds=UNBROKEN):
    out = folder / "runs" / cell.cell / "result.json"
    layout = Layout("cpu", 1, 1, 1, cell.batch_rows, "none").to_json()
    train_cell(cell.to_json(), layout, manifest, out, 1, checkpoint_seconds)
    return json.loads(out.read_text()), curve_of(out.parent)


def curve_of(folder):
    return pd.read_csv(folder / "curve.csv").drop(columns="tokens_per_second")


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_cell_learns_and_records_what_it_did(cell, manifest, tmp_path, objective):
    cell = dataclasses.replace(
        cell,
        objective=objective,
        mask_ratio=0.15 if objective == "mlm" else None,
        masking="token" if objective == "mlm" else None,
    )
    result, curve = train(cell, manifest, tmp_path)
    assert result["status"] == "finished"
    valid = curve[curve.split == "valid"]
    assert len(valid) == result["n_evals"] == 6
    assert valid.loss.iloc[-1] == result["loss_last"]
    assert valid.loss.iloc[-1] < valid.loss.iloc[0] - 0.05
    assert list(valid.tokens) == [k * cell.tokens // 6 for k in range(1, 7)]
    assert result["tokens"] == cell.tokens
    assert result["flops"] == 6 * cell.n_params * cell.tokens
    assert curve.learning_rate.iloc[-1] == pytest.approx(cell.final_learning_rate)


def test_cell_trained_twice_has_the_same_losses(cell, manifest, tmp_path):
    _, first = train(cell, manifest, tmp_path / "first")
    _, second = train(cell, manifest, tmp_path / "second")
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_cell_with_another_seed_has_other_losses(cell, manifest, tmp_path):
    _, first = train(cell, manifest, tmp_path / "first")
    _, second = train(dataclasses.replace(cell, seed=2), manifest, tmp_path / "second")
    assert (first.loss != second.loss).all()


def start(cell, manifest, out, root):
    command = [sys.executable, root / "scripts/train_cell.py", "--cell", cell.to_json()]
    command += ["--layout", Layout("cpu", 1, 1, 1, cell.batch_rows, "none").to_json()]
    command += ["--manifest", manifest, "--threads", "1", "--checkpoint-seconds", "0.01"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*map(str, command), "--out", str(out), "--log", str(out.with_name("log"))],
        env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_cell_killed_twice_ends_with_the_curve_of_an_unbroken_run(
    cell, manifest, tmp_path, root, objective
):
    cell = dataclasses.replace(
        cell,
        objective=objective,
        mask_ratio=0.15 if objective == "mlm" else None,
        masking="token" if objective == "mlm" else None,
        steps=400,
        tokens=400 * 4 * 64,
        evaluations=8,
    )
    result, unbroken = train(cell, manifest, tmp_path / "unbroken")
    out = tmp_path / "killed/runs" / cell.cell / "result.json"
    for kill_after_step in (60, 190):
        process = start(cell, manifest, out, root)
        checkpoints = out.with_name("checkpoints")
        while process.poll() is None:
            steps = [int(p.name.split("-")[1]) for p in checkpoints.glob("step-*")]
            if steps and max(steps) >= kill_after_step:
                break
            time.sleep(0.01)
        assert process.poll() is None, "the cell ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
    assert start(cell, manifest, out, root).wait() == 0
    assert "resumes at step" in out.with_name("log").read_text()
    pd.testing.assert_frame_equal(curve_of(out.parent), unbroken, check_exact=True)
    resumed = json.loads(out.read_text())
    for key in ("loss", "loss_last", "n_evals", "tokens", "unique_tokens", "flops", "status"):
        assert resumed[key] == result[key]


def test_cell_that_diverges_is_recorded_with_the_evidence(cell, manifest, tmp_path):
    wild = dataclasses.replace(cell, peak_learning_rate=1e4, gradient_clip=1e9, init_std=3.0)
    result, _ = train(wild, manifest, tmp_path)
    assert result["status"] == "diverged"
    assert result["loss"] is None
    assert "step" in result["reason"]


def test_cell_refuses_the_checkpoint_of_another_cell(cell, manifest, tmp_path):
    other = dataclasses.replace(cell, seed=2)
    train(other, manifest, tmp_path)
    (tmp_path / "runs" / other.cell).rename(tmp_path / "runs" / cell.cell)
    (tmp_path / "runs" / cell.cell / "result.json").unlink()
    with pytest.raises(TrainError, match=f"of cell {other.cell}, not of {cell.cell}"):
        train(cell, manifest, tmp_path)
    assert not (tmp_path / "runs" / cell.cell / "result.json").exists()


def test_cell_with_a_damaged_newest_checkpoint_goes_on_from_the_one_before(
    cell, manifest, tmp_path, caplog
):
    result, unbroken = train(cell, manifest, tmp_path, checkpoint_seconds=1e-9)
    folder = tmp_path / "runs" / cell.cell
    newest = max(folder.glob("checkpoints/step-*"))
    tensors = newest / "__0_0.distcp"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    again, curve = train(cell, manifest, tmp_path)
    assert again["loss"] == result["loss"]
    pd.testing.assert_frame_equal(curve, unbroken, check_exact=True)
    assert newest.with_suffix(".damaged").exists()


def test_cell_on_changed_data_starts_anew_and_keeps_the_old_checkpoints(cell, manifest, tmp_path):
    train(cell, manifest, tmp_path)
    other = write_corpus(tmp_path / "corpus", seed=2)
    _, curve = train(cell, other, tmp_path)
    _, fresh = train(cell, other, tmp_path / "fresh")
    pd.testing.assert_frame_equal(curve, fresh, check_exact=True)
    assert list((tmp_path / "runs" / cell.cell).glob("checkpoints-superseded*/step-*"))


def test_cell_refuses_rows_of_another_length(cell, manifest, tmp_path):
    longer = dataclasses.replace(cell, context_length=128)
    with pytest.raises(TrainError, match=r"manifest\.json.*64.*128"):
        train(longer, manifest, tmp_path)


def test_cell_goes_on_when_shards_that_it_does_not_read_are_added(cell, manifest, tmp_path):
    train(cell, manifest, tmp_path)
    folder = tmp_path / "runs" / cell.cell
    corpus = tmp_path / "corpus"
    shutil.copytree(manifest.parent, corpus)
    listed = json.loads((corpus / "manifest.json").read_text())
    strata = listed["splits"]["train"]["sources"]["a"]["strata"]
    strata["filtered"] = strata["kept"]
    (corpus / "manifest.json").write_text(json.dumps(listed))
    again, _ = train(cell, corpus / "manifest.json", tmp_path)
    assert not list(folder.glob("*superseded*"))
    assert again["steps"] == cell.steps


def test_cell_refuses_a_damaged_shard_naming_it(cell, tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    shard = next((tmp_path / "corpus/tokens").rglob("train-*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(TokenError, match=shard.name):
        train(cell, manifest, tmp_path)
