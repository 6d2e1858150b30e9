"""Attention maps of runs are those of the plain models, whatever shares the batch."""

import numpy as np
import pytest
import torch
from cell_fixtures import MUP
from finished_runs import SHAPE, finished_run
from plain_models import forward

from plm_scaling.inference.run import open_run
from plm_scaling.tokens.format.vocabulary import EOD, PAD


@pytest.mark.parametrize("objective", ["clm", "mlm"])
@pytest.mark.parametrize("recipe", ["study", "prenorm"])
def test_maps_are_those_of_the_plain_model(tmp_path, objective, recipe):
    scaled = MUP if recipe == "prenorm" else {}
    cell = finished_run(tmp_path / "run", objective, recipe, **scaled)
    sizes = np.array([11, 17, 2])
    rows = np.full((3, 17), PAD, np.uint8)
    rng = np.random.default_rng(1)
    for row, size in zip(rows, sizes, strict=True):
        row[: size - 1] = rng.integers(1, 21, size - 1)
        row[size - 1] = EOD
    with open_run(tmp_path / "run", 1) as run:
        weights = {name: value.detach() for name, value in run.network.named_parameters()}
        logits = run.logits(rows, sizes)
        found = list(run.attentions(rows, sizes))
    assert [m.shape for m in found] == [(3, SHAPE.heads, 17, 17)] * SHAPE.layers
    assert found[0].dtype == torch.float32
    for number, size in enumerate(sizes):
        tokens = torch.from_numpy(rows[number, :size].astype(np.int64))
        expected, maps = forward(weights, cell, tokens)
        torch.testing.assert_close(logits[number, :size], expected, atol=1e-5, rtol=1e-5)
        for layer, plain in zip(found, maps, strict=True):
            within = layer[number, :, :size]
            torch.testing.assert_close(within[:, :, :size], plain, atol=1e-6, rtol=1e-5)
            assert (within[:, :, size:] == 0).all()
