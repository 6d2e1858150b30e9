"""A cell trains, resumes, diverges on record, and refuses what is not its own."""

import dataclasses
import errno
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from corpora import write_corpus
from torch.distributed.run import get_args_parser
from training import asked_to_stop, curve_of, result_of, run_cell, small_cell, trained

from plm_scaling.common.errors import LockError, SweepError, TokenError, TrainError
from plm_scaling.common.lock import held
from plm_scaling.inference.scoring.scorer import clm_scorer
from plm_scaling.study.layout import Layout
from plm_scaling.train.loop import Loop
from plm_scaling.train.output.curve import CurveFile


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cell(root):
    return small_cell(root)


@pytest.fixture(scope="module")
def unbroken(cell, manifest, tmp_path_factory):
    """Record, curve and folder of the cell trained without a break; not to be changed."""
    folder = tmp_path_factory.mktemp("unbroken")
    return *trained(cell, manifest, folder), folder


def copied(unbroken, cell, tmp_path):
    """A folder with the finished run in it, without its record: it is to be resumed."""
    shutil.copytree(unbroken[2], tmp_path, dirs_exist_ok=True)
    result_of(cell, tmp_path).unlink()
    return result_of(cell, tmp_path).parent


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_cell_learns_and_writes_its_record(root, manifest, tmp_path, objective):
    cell = small_cell(root, objective)
    result, curve = trained(cell, manifest, tmp_path)
    assert result["status"] == "finished"
    valid = curve[curve.split == "valid"]
    assert len(valid) == result["n_evals"] == 6
    assert valid.loss.iloc[-1] == result["loss_last"] == result["held_out_losses"]["valid"]
    assert set(result["held_out_losses"]) == set(curve.split) - {"train"}
    assert valid.loss.iloc[-1] < valid.loss.iloc[0] - 0.05
    assert list(valid.tokens) == [k * cell.tokens // 6 for k in range(1, 7)]
    assert result["tokens"] == cell.tokens > result["unpadded_tokens"] > 0
    assert result["flops"] == 6 * cell.n_params * cell.tokens
    assert curve.learning_rate.iloc[-1] == pytest.approx(cell.final_learning_rate)
    assert (curve[curve.split == "train"].gradient_norm > 0).all()
    assert result["flops_per_second"] == pytest.approx(
        6 * cell.n_params * result["tokens_per_second"], rel=1e-3
    )
    assert result["utilisation"] is None  # no peak is known of a CPU
    assert result["restarts"] == 0
    assert result["skipped_steps"] == []


def test_cell_trained_twice_has_the_same_losses(cell, manifest, unbroken, tmp_path):
    _, second = trained(cell, manifest, tmp_path)
    pd.testing.assert_frame_equal(second, unbroken[1], check_exact=True)


def test_profile_is_written_and_changes_no_loss(cell, manifest, unbroken, tmp_path):
    _, curve = trained(cell, manifest, tmp_path, profile_steps=3)
    pd.testing.assert_frame_equal(curve, unbroken[1], check_exact=True)
    profile = result_of(cell, tmp_path).with_name("profile")
    assert json.loads((profile / "trace.json").read_text())["traceEvents"]
    assert "mm" in (profile / "table.txt").read_text()


def test_cell_with_another_seed_has_other_losses(cell, manifest, unbroken, tmp_path):
    _, second = trained(dataclasses.replace(cell, seed=2), manifest, tmp_path)
    assert (second.loss != unbroken[1].loss).all()


def test_second_copy_of_a_cell_sees_the_first_and_writes_nothing(
    cell, manifest, tmp_path, monkeypatch
):
    monkeypatch.setattr("plm_scaling.common.lock.WAIT_SECONDS", 0.3)
    folder = result_of(cell, tmp_path).parent
    with (
        held(folder / "lock"),
        pytest.raises(LockError, match=rf"another run works in {folder}: process \d+ on"),
    ):
        run_cell(cell, manifest, tmp_path)
    assert not any(folder.iterdir())


def test_cell_refuses_the_checkpoint_of_another_cell(cell, manifest, unbroken, tmp_path):
    folder = copied(unbroken, cell, tmp_path)
    other = dataclasses.replace(cell, seed=2)
    folder.rename(result_of(other, tmp_path).parent)
    with pytest.raises(TrainError, match=f"of cell {cell.cell}, not of {other.cell}"):
        trained(other, manifest, tmp_path)
    assert not result_of(other, tmp_path).exists()


def test_cell_with_a_damaged_newest_checkpoint_resumes_from_the_one_before(
    cell, manifest, unbroken, tmp_path
):
    for step in (30, 40):
        with asked_to_stop(step), pytest.raises(SystemExit):
            run_cell(cell, manifest, tmp_path)
    before, newest = sorted(result_of(cell, tmp_path).parent.glob("checkpoints/step-*"))
    data = next(newest.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-100])
    again, curve = trained(cell, manifest, tmp_path)
    assert again["loss"] == unbroken[0]["loss"]
    assert again["starts"][2]["step"] == 30
    assert again["restarts"] == 2
    pd.testing.assert_frame_equal(curve, unbroken[1], check_exact=True)
    assert newest.with_suffix(".damaged").exists()
    assert not before.exists()


def test_finished_cell_keeps_one_checkpoint_once_its_record_is_written(
    cell, manifest, unbroken, tmp_path, monkeypatch
):
    with asked_to_stop(40), pytest.raises(SystemExit):
        run_cell(cell, manifest, tmp_path)

    def killed(path, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("plm_scaling.train.cell.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, manifest, tmp_path)
    folder = result_of(cell, tmp_path).with_name("checkpoints")
    assert [path.name for path in sorted(folder.iterdir())] == ["step-000000040", "step-000000060"]
    again, _ = trained(cell, manifest, tmp_path)
    assert [path.name for path in folder.iterdir()] == ["step-000000060"]
    assert again["loss"] == unbroken[0]["loss"]
    assert again["starts"][-1]["step"] == cell.steps


def test_a_repeated_evaluation_is_in_the_curve_once(
    cell, manifest, unbroken, tmp_path, monkeypatch
):
    with asked_to_stop(10), pytest.raises(SystemExit):  # with an evaluation due
        run_cell(cell, manifest, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "step", lambda loop: 1 / 0)  # ends after the evaluation
        with pytest.raises(ZeroDivisionError):
            run_cell(cell, manifest, tmp_path)
    assert set(curve_of(cell, tmp_path).step) == {10}
    _, curve = trained(cell, manifest, tmp_path)
    pd.testing.assert_frame_equal(curve, unbroken[1], check_exact=True)


def test_cell_on_changed_data_restarts_from_scratch_and_keeps_the_old_checkpoints(
    cell, manifest, unbroken, tmp_path
):
    copied(unbroken, cell, tmp_path)
    other = write_corpus(tmp_path / "corpus", seed=2)
    again, curve = trained(cell, other, tmp_path)
    _, fresh = trained(cell, other, tmp_path / "fresh")
    pd.testing.assert_frame_equal(curve, fresh, check_exact=True)
    assert again["restarts"] == 0
    assert list(result_of(cell, tmp_path).parent.glob("checkpoints-superseded*"))


def test_cell_refuses_rows_of_another_length(cell, manifest, tmp_path):
    longer = dataclasses.replace(cell, context_length=128)
    with pytest.raises(TrainError, match=r"manifest\.json.*64.*128"):
        trained(longer, manifest, tmp_path)


def test_cell_refuses_bf16_on_the_cpu(cell, manifest, tmp_path):
    with pytest.raises(SweepError, match=r"only in fp32 \(training\.precision\)"):
        trained(dataclasses.replace(cell, precision="bf16"), manifest, tmp_path)


def test_cell_with_start_tokens_says_so_and_scores_first_residues(cell, tmp_path):
    starting = dataclasses.replace(cell, start_token=True)
    record, _ = trained(starting, write_corpus(tmp_path, start_token=True), tmp_path)
    assert record["config"]["start_token"]
    with clm_scorer(str(result_of(starting, tmp_path).parent), 1) as scorer:
        assert np.isfinite(scorer.scores(b"M\n\0", np.array([1]))[0])


def test_cell_refuses_rows_without_its_start_tokens(cell, manifest, tmp_path):
    starting = dataclasses.replace(cell, start_token=True)
    with pytest.raises(TrainError, match=r"manifest\.json: tokens\.start_token is False"):
        trained(starting, manifest, tmp_path)


def test_cell_refuses_a_layout_that_does_not_divide_its_batch(cell, manifest, tmp_path):
    with pytest.raises(SweepError, match="does not divide"):
        trained(cell, manifest, tmp_path, layout=Layout("cpu", 1, 1, 1, 3, "none"))


def test_cell_refuses_a_layout_of_more_processes_than_the_job_has(cell, manifest, tmp_path):
    with pytest.raises(TrainError, match=r"2 processes, but this job runs 1.*torchrun") as caught:
        trained(cell, manifest, tmp_path, layout=Layout("cpu", 2, 1, 1, 4, "none"))
    (remedy,) = re.findall("`torchrun (.*?) …`", str(caught.value))
    started = get_args_parser().parse_args([*remedy.split(), "--log", "cell.log"])
    assert started.training_script_args == ["--log", "cell.log"]


def test_a_full_disk_is_told_in_one_line_with_the_folder(cell, manifest, tmp_path, monkeypatch):
    def append(self, rows):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(CurveFile, "append", append)
    with pytest.raises(TrainError, match=r"No space left on device; make room") as caught:
        trained(cell, manifest, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cell_resumes_when_shards_that_it_does_not_read_are_added(
    cell, manifest, unbroken, tmp_path
):
    folder = copied(unbroken, cell, tmp_path)
    corpus = tmp_path / "corpus"
    shutil.copytree(manifest.parent, corpus)
    listed = json.loads((corpus / "manifest.json").read_text())
    strata = listed["splits"]["train"]["sources"]["a"]["strata"]
    strata["filtered"] = strata["kept"]
    (corpus / "manifest.json").write_text(json.dumps(listed))
    again, _ = trained(cell, corpus / "manifest.json", tmp_path)
    assert not list(folder.glob("*superseded*"))
    assert again["starts"][-1]["step"] == again["steps"] == cell.steps


def test_cell_refuses_a_damaged_shard_naming_it(cell, tmp_path):
    manifest = write_corpus(tmp_path / "corpus")
    shard = next((tmp_path / "corpus/tokens").rglob("train-*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(TokenError, match=shard.name):
        trained(cell, manifest, tmp_path)


def test_transferred_cell_begins_with_the_weights_of_its_source(cell, manifest, unbroken, tmp_path):
    source = result_of(cell, unbroken[2])
    mlm = dataclasses.replace(
        cell, objective="mlm", mask_ratio=0.15, masking="token", warmup_steps=0
    )
    _, scratch = trained(mlm, manifest, tmp_path / "scratch")
    moved = dataclasses.replace(mlm, init_from=cell.cell)
    _, curve = trained(moved, manifest, tmp_path, init_from=source)
    assert curve.loss.iloc[0] < scratch.loss.iloc[0] - 0.1
    # It resumes from its own checkpoint, and does not start from the source again.
    result_of(moved, tmp_path).unlink()
    again, same = trained(moved, manifest, tmp_path, init_from=source)
    pd.testing.assert_frame_equal(same, curve, check_exact=True)
    assert again["starts"][-1]["step"] == cell.steps
