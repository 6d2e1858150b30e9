"""Scores are the model's own losses, for causal and for masked models."""

import dataclasses

import numpy as np
import pytest
import torch
from corpora import pack_rows
from finished_runs import CONTEXT, finished_run

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.models.windows import counted, window_rows, windows
from plm_scaling.inference.run import open_run
from plm_scaling.inference.scoring.scorer import Scorer, clm_scorer
from plm_scaling.tokens.format.packing import segment_bounds
from plm_scaling.tokens.format.vocabulary import EOD, MASK, PAD, RESIDUE_ID, STANDARD, encode
from plm_scaling.train.data.batches import causal_batch
from plm_scaling.train.model.losses import model_logits, model_losses


def random_sequences(n, seed):
    """Sequences of 5 to 60 residues."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(STANDARD), rng.integers(5, 60))) for _ in range(n)]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "start"])
def runs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for objective in ("clm", "mlm"):
        finished_run(folder / objective, objective, start_token=request.param)
    return folder


@pytest.fixture
def causal(runs):
    with clm_scorer(str(runs / "clm"), threads=1) as scorer:
        yield scorer


@pytest.fixture
def masked(runs):
    with open_run(runs / "mlm", threads=1) as run:
        yield Scorer(run)


def entries(sequences):
    return b"".join(text.encode() + b"\n\0" for text in sequences)


def tokens_of(scorer, text):
    """Tokens of a sequence as its run was trained on, and whether one is in front."""
    start = scorer.model.cell.start_token
    return np.frombuffer(encode(entries([text]), start_token=start), np.uint8), int(start)


def lengths_of(sequences):
    return np.array([len(text) for text in sequences])


def score(scorer, sequences):
    return scorer.nll_per_residue(entries(sequences), lengths_of(sequences))


def own(scorer, sequences):
    """Log-probabilities of each sequence's residues."""
    lengths = lengths_of(sequences)
    return np.split(scorer.scores(entries(sequences), lengths)[0], np.cumsum(lengths)[:-1])


def test_causal_scores_are_the_losses_of_the_models_own_evaluation(causal):
    """Packed as for training and evaluated as there, without the prediction of eod."""
    sequences = [s for s in random_sequences(200, 3) if 1 < len(s) < CONTEXT - 1]
    rows = pack_rows(sequences, CONTEXT, causal.model.cell.start_token)
    batch = causal_batch(rows)
    losses = model_losses(causal.model.network, batch).flatten().numpy()
    scores = dict(zip(sequences, score(causal, sequences), strict=True))
    single = dict(zip(sequences, own(causal, sequences), strict=True))
    flat = rows.ravel()
    for start, length in zip(*segment_bounds(rows), strict=True):
        segment = flat[start : start + length]
        text = next(s for s in scores if np.array_equal(tokens_of(causal, s)[0], segment))
        first = 1 - causal.model.cell.start_token  # residue that is predicted
        expected = losses[start : start + length - 2]
        assert scores[text] == pytest.approx(expected.mean(), abs=2e-6)
        np.testing.assert_allclose(-single[text][first:], expected, atol=1e-5)
        assert np.isnan(single[text][0]) == first


def masked_logs(scorer, tokens, positions):
    """Log-probabilities at `positions` of one row of tokens [length] where those are masked."""
    row = np.array(tokens, np.uint8)[None]
    row[0, positions] = MASK
    batch = causal_batch(row)  # which holds the row as one segment
    assert len(batch.segments.groups) == 1
    logits = model_logits(scorer.model.network, batch)[0, positions]
    return logits.log_softmax(-1).numpy()


def test_masked_scores_are_those_of_each_residue_masked_separately(masked):
    sequences = [s[:30] for s in random_sequences(12, 5)]
    found = own(masked, sequences)
    scores = score(masked, sequences)
    marginals = masked.scores(entries(sequences), lengths_of(sequences), marginals=True)[1]
    for text, logs, nll in zip(sequences, found, scores, strict=True):
        tokens, start = tokens_of(masked, text)
        assert tokens[-1] == EOD
        places = range(start, start + len(text))
        expected = np.array([masked_logs(masked, tokens, [i])[0] for i in places])
        np.testing.assert_allclose(logs, expected[range(len(text)), tokens[start:-1]], atol=1e-5)
        assert nll == pytest.approx(-logs.mean(), abs=1e-5)
        standard = expected[:, [RESIDUE_ID[letter] for letter in STANDARD]]
        np.testing.assert_allclose(marginals[: len(text)], standard, atol=1e-5)
        marginals = marginals[len(text) :]
    assert len(marginals) == 0


def test_fast_scores_mask_every_residue_once_at_the_mask_ratio_of_training(masked, monkeypatch):
    fast = Scorer(masked.model, fast=True)
    text = random_sequences(1, 6)[0] + "ACDEFGHIKLMNPQRSTVWY"
    text = text[:40]
    passes = []
    logits = type(masked.model).logits

    def seen(run, rows, sizes):
        passes.extend(rows)
        return logits(run, rows, sizes)

    monkeypatch.setattr(type(masked.model), "logits", seen)
    (found,) = own(fast, [text])
    tokens, start = tokens_of(masked, text)
    masks = np.array(passes)[:, start : start + 40] == MASK
    assert len(masks) == round(1 / masked.model.cell.mask_ratio)
    assert (masks.sum(0) == 1).all()
    assert set(masks.sum(1)) <= {40 // 7, 40 // 7 + 1}
    assert (np.array(passes)[:, start + 40] == EOD).all()
    for mask in masks:
        places = np.flatnonzero(mask) + start
        expected = masked_logs(masked, tokens, places)[range(len(places)), tokens[places]]
        np.testing.assert_allclose(found[mask], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["causal", "masked", "fast"])
def test_scores_depend_neither_on_batching_nor_on_neighbours(request, runs, monkeypatch, kind):
    scorer = request.getfixturevalue("causal" if kind == "causal" else "masked")
    scorer = dataclasses.replace(scorer, fast=kind == "fast")
    n = 60 if kind == "causal" else 6
    sequences = [s * (1 + i % 4) for i, s in enumerate(random_sequences(n, 4))]
    together = score(scorer, sequences)
    single = [score(scorer, [text])[0] for text in sequences]
    reverse = score(scorer, sequences[::-1])[::-1]
    monkeypatch.setattr("plm_scaling.inference.models.windows.BATCH_TOKENS", {"cpu": 150})
    small = score(scorer, sequences)
    for other in (single, reverse, small):
        np.testing.assert_allclose(together, other, atol=5e-6)
    assert np.std(together) > 1e-3
    assert np.array_equal(score(scorer, sequences), small)  # the same again, to the last bit


def test_long_sequence_counts_every_residue_once_with_half_a_context_before_it(causal):
    text = "".join(random_sequences(10, 5))[:163]
    tokens, start = tokens_of(causal, text)
    tokens = tokens[:-1]
    last = len(tokens) - CONTEXT

    def losses(begin):
        row = tokens[None, begin : begin + CONTEXT]
        return model_losses(causal.model.network, causal_batch(row))[0, :-1].numpy()

    # Windows begin at 0, 32, 64, 96 and, ending at the end, 99 (100 with a start token).
    pieces = [losses(begin)[-32:] for begin in (32, 64, 96)]
    expected = np.concatenate([losses(0), *pieces, losses(last)[96 - last :]])
    assert len(expected) == len(tokens) - 1
    np.testing.assert_allclose(-own(causal, [text])[0][1 - start :], expected, atol=1e-5)


def test_long_sequence_of_a_masked_model_has_context_on_both_sides(masked):
    text = "".join(random_sequences(10, 5))[:163]
    tokens, start = tokens_of(masked, text)
    (found,) = own(masked, [text])
    # Windows of 164 tokens begin at 0, 32, 64, 96 and 100; borders lie in the middle of overlaps.
    for begin, first, last in (
        (0, start, 48),
        (32, 48, 80),
        (64, 80, 112),
        (96, 112, 130),
        (100 + start, 130, 163 + start),
    ):
        for place in {first, (first + last) // 2, last - 1}:
            row = tokens[begin : begin + CONTEXT]
            expected = masked_logs(masked, row, [place - begin])[0, tokens[place]]
            assert found[place - start] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("context", [8, 9])
@pytest.mark.parametrize("objective", ["clm", "mlm"])
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("prefix", [(), (29, 32)])
def test_windows_cover_every_length_without_gap(context, objective, start, prefix):
    lengths = np.arange(1, 60)
    whole = windows(lengths, context + len(prefix), objective, bool(start), prefix)
    assert whole.size.max() == context + len(prefix)
    tokens = np.arange(int((lengths + 1 + start).sum())).astype(np.uint8)
    some = np.arange(len(whole.size))
    rows = window_rows(tokens, whole, some)
    assert (rows[:, : len(prefix)] == prefix).all()
    row, column = np.nonzero(counted(whole, some, rows.shape[1]))
    residue = whole.place[row] + column  # among all, each once; tokens count starts and ends too
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    assert np.array_equal(np.sort(residue), np.arange(lengths.sum()))
    expected = residue + sequence[residue] * (1 + start) + start
    assert np.array_equal(rows[row, column], expected.astype(np.uint8))
    # Without its prefix each window is as it would be in a shorter context.
    n = len(prefix)
    pieces = dataclasses.replace(
        whole, size=whole.size - n, first=whole.first - n, last=whole.last - n,
        before=whole.before - n, place=whole.place + n, row_prefix=(),
    )  # fmt: skip
    starts = np.cumsum(lengths + 1 + start) - lengths - 1
    for number, length in enumerate(lengths):
        mine = pieces.sequence == number
        offset = pieces.start[mine] - starts[number]
        first, last = offset + pieces.first[mine], offset + pieces.last[mine]
        end = offset + pieces.size[mine]
        assert (pieces.before[mine] == np.maximum(-offset, 0)).all()
        assert (first[0], last[-1]) == (0, length)
        assert np.array_equal(first[1:], last[:-1])
        assert (last > first).all()
        assert (pieces.size[mine] <= context).all()
        assert end[-1] == length + (objective == "mlm")
        assert (pieces.place[mine] == offset + lengths[:number].sum()).all()
        held = np.minimum(end, length) - np.maximum(offset, 0)
        assert (pieces.residues[mine] == held).all()
        if objective == "clm":
            assert ((first - offset)[1:] >= context // 2).all()
        else:
            assert ((first - offset)[1:] >= context // 4).all()
            assert ((end - last)[:-1] >= context // 4).all()


def test_sequence_of_one_residue_has_a_causal_score_only_with_a_start_token(causal):
    scores = score(causal, ["M", "MK"])
    assert np.isnan(scores[0]) != causal.model.cell.start_token
    assert np.isfinite(scores[1])


def test_sequence_of_one_residue_has_a_masked_score(masked):
    tokens, start = tokens_of(masked, "M")
    expected = -masked_logs(masked, tokens, [start])[0, RESIDUE_ID["M"]]
    for fast in (False, True):
        scorer = dataclasses.replace(masked, fast=fast)
        assert score(scorer, ["M"])[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["causal", "masked", "fast"])
def test_work_is_the_number_of_tokens_that_the_model_evaluates(request, runs, kind):
    scorer = request.getfixturevalue("causal" if kind == "causal" else "masked")
    scorer = dataclasses.replace(scorer, fast=kind == "fast")
    sequences = [s * (1 + i % 4) for i, s in enumerate(random_sequences(5, 4))]
    tokens = []
    scorer.scores(entries(sequences), lengths_of(sequences), count=tokens.append)
    assert sum(tokens) == scorer.work(lengths_of(sequences)).sum() > 0


def name_of(folder):
    with clm_scorer(str(folder), threads=1) as scorer:
        return scorer.name


def test_name_identifies_run_and_weights(tmp_path):
    cell = finished_run(tmp_path / "one")
    finished_run(tmp_path / "same")
    finished_run(tmp_path / "other", weights_seed=4)
    names = [name_of(tmp_path / folder) for folder in ("one", "same", "other")]
    assert all(name.startswith(f"clm test {cell.cell} ") for name in names)
    assert names[0] == names[1] != names[2]


def test_masked_run_is_no_reference_model(runs):
    with pytest.raises(InferenceError, match="is an MLM: only"), clm_scorer(str(runs / "mlm"), 1):
        pass


def test_padding_of_a_row_is_not_attended_to(masked):
    rows = np.full((2, 12), PAD, np.uint8)
    rows[:, :7] = np.frombuffer(encode(b"MKVLAA\n\0"), np.uint8)
    rows[1, 7:] = RESIDUE_ID["W"]
    one, other = masked.model.logits(rows, np.array([7, 7]))[:, :7]
    torch.testing.assert_close(one, other)
