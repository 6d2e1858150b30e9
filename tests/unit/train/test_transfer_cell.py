"""A cell starts from the weights of the other objective, with its own schedule, or says why not."""

import dataclasses
import json

import pytest
from cell_fixtures import MUP
from corpora import write_corpus
from training import result_of, run_cell, small_cell, trained

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.sweep.single import OTHER

NO_STEP = 1e-12  # a learning rate that leaves weights as they are


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def make(root):
    def make(objective, source=None, **changes):
        start = {"init_from": source.cell, "source_flops": source.flops} if source else {}
        return small_cell(root, objective, 40, evaluations=2, **start, **changes)

    return make


def train(cell, manifest, folder, init_from=None):
    _, curve = trained(cell, manifest, folder, init_from=init_from)
    return curve, result_of(cell, folder)


def losses(curve):
    return curve.loss[curve.split == "valid"].tolist()


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_cell_starts_from_the_weights_of_the_other_objective(make, manifest, tmp_path, objective):
    source = make(OTHER[objective])
    _, result = train(source, manifest, tmp_path)
    as_it_is = {"peak_learning_rate": NO_STEP, "final_learning_rate": NO_STEP}
    target = make(objective, source, **as_it_is)
    first, second = losses(train(target, manifest, tmp_path, result)[0])
    # Neither the seed nor the training of the target moved the weights: they are the source's.
    other_seed = make(objective, source, seed=2, **as_it_is)
    assert losses(train(other_seed, manifest, tmp_path, result)[0]) == [first, second]
    assert first == pytest.approx(second, abs=1e-6)
    scratch = dataclasses.replace(target, init_from=None, source_flops=None)
    assert abs(losses(train(scratch, manifest, tmp_path)[0])[0] - first) > 0.01


def test_cell_continues_from_its_own_weights_with_a_new_schedule(make, manifest, tmp_path):
    source = make("clm")
    _, result = train(source, manifest, tmp_path)
    target = make("mlm", source)
    curve, own = train(target, manifest, tmp_path, result)
    assert curve.tokens.iloc[-1] == target.tokens
    assert curve.learning_rate.iloc[-1] == pytest.approx(target.final_learning_rate)
    own.unlink()
    again, _ = train(target, manifest, tmp_path, result)
    assert losses(again) == losses(curve)


def test_cell_refuses_a_run_that_it_cannot_start_from(make, manifest, tmp_path):
    source = make("clm")
    target = make("mlm", source)
    _, result = train(source, manifest, tmp_path)
    record = json.loads(result.read_text())

    def refused(cell, message, init_from=result, **changes):
        result.write_text(json.dumps(record | changes))
        with pytest.raises(PlmScalingError, match=message):
            run_cell(cell, manifest, tmp_path / "refused", init_from=init_from)
        assert not (tmp_path / "refused").exists()

    refused(target, f"starts from cell {source.cell}: give its result.json", init_from=None)
    refused(target, "has no result.json", init_from=tmp_path / "result.json")
    refused(source, "starts from scratch: leave out --init-from")
    refused(target, "diverged.*loss is nan.*learning rate", status="diverged", reason="loss is nan")
    refused(target, "no record of a cell of this version", config={"objective": "clm"})
    refused(make("mlm", make("clm", seed=3)), f"is of cell {source.cell}, but")
    refused(make("clm", source), "are both CLM")
    refused(dataclasses.replace(target, hidden=32, ffn=84), "differ in hidden, ffn")
    refused(dataclasses.replace(target, **MUP), "differ in mup_base_width, mup_base_channels")
