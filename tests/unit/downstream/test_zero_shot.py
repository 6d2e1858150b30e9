"""Scores of mutants against the model's own logits, and a whole evaluation."""

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import CONTEXT, finished_run
from small_assays import WILD_TYPE, assay, prepared, single_mutants

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import read_json
from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.downstream.evaluate import evaluate_model
from plm_scaling.downstream.fitness.protocols import protocols_of
from plm_scaling.downstream.fitness.zero_shot import ZeroShot
from plm_scaling.inference.models.open import open_model
from plm_scaling.tokens.format.vocabulary import MASK, RESIDUE_ID, encode
from plm_scaling.train.model.builder import SequenceModel

MUTANTS = [*single_mutants(12, seed=1), "K2A:V3L", "D15E:R17K:K25R"]
SEQUENCES = {"K2A:V3L": "MALLAAGIVPLLWNDERTYHSCFQK", "D15E:R17K:K25R": "MKVLAAGIVPLLWNEEKTYHSCFQR"}
LONG = WILD_TYPE * 5  # 125 residues in a context of 64


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, changes in {"clm": {}, "start": {"start_token": True}, "mlm": {}}.items():
        finished_run(folder / name, "mlm" if name == "mlm" else "clm", **changes)
    return folder


@pytest.fixture(scope="module")
def settings():
    return read_config(FULL_STUDY).downstream


def sequence_of(mutant):
    if mutant in SEQUENCES:
        return SEQUENCES[mutant]
    at = int(mutant[1:-1]) - 1
    return WILD_TYPE[:at] + mutant[-1] + WILD_TYPE[at + 1 :]


def log_likelihood(model, sequence, start_token):
    """Nats of a sequence, token by token from the logits."""
    tokens = encode(sequence.encode() + b"\n\0", start_token=start_token)
    row = np.frombuffer(tokens, np.uint8)[None, :]
    logs = model.logits(row, np.array([row.shape[1]])).float().log_softmax(-1)[0]
    residues = range(1, len(sequence) + start_token)
    return sum(float(logs[i - 1, int(row[0, i])]) for i in residues)


@pytest.mark.parametrize("name", ["clm", "start"])
def test_likelihood_ratio(runs, name):
    with open_model(str(runs / name), threads=1) as model:
        sequences = [sequence_of(one) for one in MUTANTS]
        found = ZeroShot(model).scores(WILD_TYPE, MUTANTS, sequences, indels=False)
        start = name == "start"
        wild = log_likelihood(model, WILD_TYPE, start)
        expected = [log_likelihood(model, one, start) - wild for one in sequences]
    assert [*found] == ["llr"]
    assert found["llr"] == pytest.approx(np.array(expected), abs=1e-4)


def test_insertions_and_deletions(runs):
    sequences = [WILD_TYPE[:5] + WILD_TYPE[8:], WILD_TYPE[:5] + "GG" + WILD_TYPE[5:]]
    with open_model(str(runs / "clm"), threads=1) as model:
        found = ZeroShot(model).scores(WILD_TYPE, sequences, sequences, indels=True)
        nats = [log_likelihood(model, one, False) for one in (WILD_TYPE, *sequences)]
    assert found["llr"] == pytest.approx(np.array(nats[1:]) - nats[0], abs=1e-4)
    each = [nats[1] / 22, nats[2] / 27]
    assert found["llr_per_residue"] == pytest.approx(np.array(each) - nats[0] / 25, abs=1e-5)


@pytest.mark.parametrize("protocol", ["masked_marginals", "wild_type_marginals"])
def test_marginals(runs, protocol):
    row = np.frombuffer(encode(WILD_TYPE.encode() + b"\n\0"), np.uint8)[None, :]
    with open_model(str(runs / "mlm"), threads=1) as model:
        scorer = ZeroShot(model)
        found = scorer.scores(WILD_TYPE, MUTANTS, [], indels=False)[protocol]
        expected = []
        for mutant in MUTANTS:
            total = 0.0
            for one in mutant.split(":"):
                given, at = row.copy(), int(one[1:-1]) - 1
                if protocol == "masked_marginals":
                    given[0, at] = MASK
                logs = model.logits(given, np.array([row.shape[1]]))[0, at].float().log_softmax(-1)
                total += float(logs[RESIDUE_ID[one[-1]]] - logs[RESIDUE_ID[one[0]]])
            expected.append(total)
    assert found == pytest.approx(np.array(expected), abs=1e-4)


def test_a_masked_model_has_no_likelihood():
    with pytest.raises(DownstreamError, match="need the likelihood of whole sequences"):
        protocols_of("mlm", indels=True)


@pytest.mark.parametrize("name", ["clm", "mlm"])
def test_evaluation(runs, settings, name, tmp_path):
    """Also of a protein that is longer than the context, and in another order."""
    mutants = [f"{LONG[at - 1]}{at}W" for at in range(60, 80) if LONG[at - 1] != "W"]
    assays = {"short": assay(MUTANTS), "long": assay(mutants)}
    assert len(LONG) > CONTEXT
    found = []
    for order in ([*assays], [*assays][::-1]):
        wild = {"long": LONG}
        folder = prepared(tmp_path / order[0], {key: assays[key] for key in order}, wild)
        out = folder / "predictions.parquet"
        evaluate_model(str(runs / name), folder, settings, 1, 1, out)
        found.append(pd.read_parquet(out).set_index("id").sort_index())
    pd.testing.assert_frame_equal(*found, rtol=1e-4, atol=1e-5)
    record = read_json(out.with_suffix(".json"))
    assert record["model"]["kind"] == "cell"
    assert record["model"]["loss"] is not None
    assert record["weights_sha256"]
    scores = [one for one in record["scores"] if one["metric"] == "spearman"]
    of_all = next(one for one in scores if not one["group"])
    alone = {one["group"]: one for one in scores if one["protocol"] == of_all["protocol"]}
    assert of_all["value"] == pytest.approx((alone["short"]["value"] + alone["long"]["value"]) / 2)
    assert of_all["n_groups"] == 2
    assert of_all["n_items"] == len(MUTANTS) + len(mutants)
    assert of_all["standard_error"] > 0
    assert of_all["floor"] == pytest.approx((alone["short"]["floor"] + alone["long"]["floor"]) / 2)


def test_one_assay_has_an_error_over_its_mutants(runs, settings, tmp_path):
    folder = prepared(tmp_path, {"a": assay(MUTANTS)})
    evaluate_model(str(runs / "mlm"), folder, settings, 1, 1, tmp_path / "p.parquet")
    scores = read_json(tmp_path / "p.json")["scores"]
    assert all(one["standard_error"] > 0 for one in scores if one["metric"] == "spearman")


def test_a_blind_model_has_no_score(runs, settings, tmp_path, monkeypatch):
    """Constant predictions are no 0."""
    folder = prepared(tmp_path, {"a": assay(MUTANTS)})

    def blind(self, tokens, segments):
        return torch.zeros(len(tokens), 1, 128)

    monkeypatch.setattr(SequenceModel, "forward", blind)
    evaluate_model(str(runs / "clm"), folder, settings, 1, 1, tmp_path / "p.parquet")
    scores = read_json(tmp_path / "p.json")["scores"]
    assert {one["value"] for one in scores} == {None}
    assert {one["standard_error"] for one in scores} == {None}


def test_chunks_of_mutants_change_nothing(runs, monkeypatch):
    sequences = [sequence_of(one) for one in MUTANTS]
    found = []
    for residues in (1 << 20, 60):
        monkeypatch.setattr("plm_scaling.downstream.fitness.zero_shot.SHARING_RESIDUES", residues)
        with open_model(str(runs / "clm"), threads=1) as model:
            found.append(ZeroShot(model).scores(WILD_TYPE, MUTANTS, sequences, False)["llr"])
    assert found[0] == pytest.approx(found[1], abs=1e-5)
