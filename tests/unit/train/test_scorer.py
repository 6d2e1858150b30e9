"""A CLM run as a reference model: its scores are the model's own losses."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from corpora import pack_rows

from plm_scaling.config.load import read_config
from plm_scaling.errors import TrainError
from plm_scaling.sweep.cells import make_cell
from plm_scaling.sweep.ladder import Shape
from plm_scaling.tokens.packing import segment_bounds
from plm_scaling.tokens.vocabulary import EOD, PAD, STANDARD, encode
from plm_scaling.train import STAGE_VERSION
from plm_scaling.train.batches import causal_batch
from plm_scaling.train.checkpoint import save_checkpoint
from plm_scaling.train.losses import model_losses
from plm_scaling.train.model import build_model
from plm_scaling.train.process import cpu_process
from plm_scaling.train.scorer import clm_scorer, windows
from plm_scaling.train.sharded import sharded_model

CONTEXT = 64


def random_sequences(n, seed):
    """Sequences of 5 to 60 residues."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(STANDARD), rng.integers(5, 60))) for _ in range(n)]


def finished_run(folder, root, objective="clm", status="finished", init_std=0.3):
    """What training leaves, with the weights that a model begins with; its cell."""
    config = read_config(root / "config/demo.yaml")
    cell = make_cell(config, "clm", "demo", "study", "tiny", Shape(2, 16, 42, 2), 2e9, seed=1)
    cell = dataclasses.replace(
        cell,
        objective=objective,
        mask_ratio=0.15 if objective == "mlm" else None,
        masking="token" if objective == "mlm" else None,
        context_length=CONTEXT,
    )
    with cpu_process(1, 3):
        model = build_model(dataclasses.replace(cell, init_std=init_std))
        identity = {"cell": cell.cell, "data_sha256": "0", "stage_version": str(STAGE_VERSION)}
        state = {"model": sharded_model(model)}
        save_checkpoint(folder / "checkpoints", cell.steps, identity, {}, state)
    record = {
        "cell": cell.cell,
        "status": status,
        "reason": "" if status == "finished" else "loss 9 at step 7",
        "steps": cell.steps,
        "config": dataclasses.asdict(cell),
    }
    (folder / "result.json").write_text(json.dumps(record))
    return cell


@pytest.fixture(scope="module")
def run(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("run")
    finished_run(folder, root)
    return folder


@pytest.fixture
def scorer(run):
    with clm_scorer(run, threads=1) as scorer:
        yield scorer


def entries(sequences):
    return b"".join(text.encode() + b"\n\0" for text in sequences)


def score(scorer, sequences):
    lengths = np.array([len(text) for text in sequences])
    return scorer.nll_per_residue(entries(sequences), lengths)


def test_scores_are_the_losses_of_the_models_own_evaluation(scorer):
    """Packed as for training and evaluated as there, without the prediction of eod."""
    sequences = [s for s in random_sequences(200, 3) if 1 < len(s) < CONTEXT]
    rows = pack_rows(sequences, CONTEXT)
    batch = causal_batch(rows)
    counted = batch.loss_mask * (batch.labels != EOD)
    with torch.no_grad():
        losses = model_losses(scorer.model, batch)
    expected = float((losses * counted).sum() / counted.sum())
    scores = score(scorer, sequences)
    weights = [len(s) - 1 for s in sequences]
    assert np.average(scores, weights=weights) == pytest.approx(expected, rel=1e-6)
    # And one by one, each where it was packed.
    losses = losses.flatten().numpy()
    flat = rows.ravel()
    own = dict(zip(sequences, scores, strict=True))
    for start, length in zip(*segment_bounds(rows), strict=True):
        text = next(
            s for s in own if encode(entries([s])) == flat[start : start + length].tobytes()
        )
        assert own[text] == pytest.approx(losses[start : start + length - 2].mean(), abs=2e-6)


def test_scores_depend_neither_on_batching_nor_on_neighbours(scorer, monkeypatch):
    sequences = [s * (1 + i % 4) for i, s in enumerate(random_sequences(60, 4))]
    together = score(scorer, sequences)
    alone = [score(scorer, [text])[0] for text in sequences]
    reverse = score(scorer, sequences[::-1])[::-1]
    monkeypatch.setattr("plm_scaling.train.scorer.BATCH_TOKENS", 150)
    small = score(scorer, sequences)
    for other in (alone, reverse, small):
        np.testing.assert_allclose(together, other, atol=3e-6)
    assert np.std(together) > 1e-3
    assert np.array_equal(score(scorer, sequences), small)  # the same again, to the last bit


def test_long_sequence_counts_every_residue_once_with_half_a_context_before_it(scorer):
    text = "".join(random_sequences(10, 5))[:163]
    tokens = np.frombuffer(encode(entries([text])), np.uint8)[:-1]

    def losses(begin):
        row = np.full((1, CONTEXT), PAD, np.uint8)
        row[0] = tokens[begin : begin + CONTEXT]
        with torch.no_grad():
            return model_losses(scorer.model, causal_batch(row))[0, :-1].numpy()

    # Windows begin at 0, 32, 64, 96 and, ending at the end, 99.
    pieces = [losses(0), losses(32)[-32:], losses(64)[-32:], losses(96)[-32:], losses(99)[-3:]]
    expected = np.concatenate(pieces)
    assert len(expected) == len(text) - 1
    assert score(scorer, [text])[0] == pytest.approx(expected.mean(), abs=2e-6)


@pytest.mark.parametrize("context", [8, 9])
def test_windows_cover_every_length_without_gap(context):
    lengths = np.arange(1, 60)
    pieces = windows(lengths, context)
    starts = np.cumsum(lengths + 1) - lengths - 1
    for number, length in enumerate(lengths):
        own = pieces.sequence == number
        counted = []
        spans = zip(pieces.start[own], pieces.size[own], pieces.first[own], strict=True)
        for start, size, first in spans:
            offset = start - starts[number]
            assert size <= context
            assert offset + size <= length
            assert first >= (context // 2 if offset else 1)
            counted += list(range(offset + first, offset + size))
        assert counted == list(range(1, length))


def test_sequence_of_one_residue_has_no_score(scorer):
    scores = score(scorer, ["M", "MK"])
    assert np.isnan(scores[0])
    assert np.isfinite(scores[1])


def name_of(folder):
    with clm_scorer(folder, threads=1) as scorer:
        return scorer.name


def test_name_says_which_run_and_weights(tmp_path, root):
    cell = finished_run(tmp_path / "one", root)
    finished_run(tmp_path / "same", root)
    finished_run(tmp_path / "other", root, init_std=0.2)
    names = [name_of(tmp_path / folder) for folder in ("one", "same", "other")]
    assert all(name.startswith(f"clm tiny {cell.cell} ") for name in names)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "result.json").unlink(), "has no result.json"),
        (lambda folder: (folder / "result.json").write_text("{"), "no record of a cell"),
        (lambda folder: (folder / "result.json").write_text("{}"), "no record of a cell"),
        (lambda folder: shutil.rmtree(folder / "checkpoints"), "is missing"),
        (
            lambda folder: next(folder.glob("checkpoints/*/__0_0.distcp")).write_bytes(b"PK"),
            "has 2 bytes of",
        ),
    ],
)
def test_run_that_is_damaged_is_refused_and_left_as_it_is(tmp_path, root, damage, message):
    finished_run(tmp_path / "run", root)
    damage(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TrainError, match=message), clm_scorer(tmp_path / "run", 1):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_mlm_and_diverged_runs_are_refused(tmp_path, root):
    finished_run(tmp_path / "mlm", root, objective="mlm")
    with pytest.raises(TrainError, match="is an MLM run"), clm_scorer(tmp_path / "mlm", 1):
        pass
    finished_run(tmp_path / "wild", root, status="diverged")
    with pytest.raises(TrainError, match="diverged \\(loss 9"), clm_scorer(tmp_path / "wild", 1):
        pass


def test_checkpoint_of_another_cell_is_refused(tmp_path, root):
    finished_run(tmp_path / "run", root)
    path = tmp_path / "run/result.json"
    record = json.loads(path.read_text())
    record["config"]["seed"] = 2
    path.write_text(json.dumps(record))
    with pytest.raises(TrainError, match="put together by hand"), clm_scorer(tmp_path / "run", 1):
        pass
