"""Utilisation by each way of counting FLOPs."""

import dataclasses

import pytest
from cell_fixtures import cell_of

from plm_scaling.study.flops import exact_training_flops
from plm_scaling.study.shapes import STUDY_GRID
from plm_scaling.train.output.throughput import Hardware, Throughput
from plm_scaling.train.position import Position

HARDWARE = Hardware("NVIDIA H100 80GB HBM3", 1, "1 x H100", 989e12)


@pytest.mark.parametrize(("objective", "pairs_of_half"), [("mlm", 0.5), ("clm", 513 / 1025)])
def test_packed_rows_count_attention_within_their_segments(objective, pairs_of_half):
    shape, rows, context = STUDY_GRID["85M"], 64, 1024
    tokens = rows * context
    fields = {"tokens": tokens, "batch_rows": rows, "context_length": context}
    exact = [exact_training_flops(shape, tokens, n, objective) for n in (context, context // 2)]
    cell = cell_of(objective, shape, flops_exact=exact[0], **fields)
    pairs = tokens * (context if objective == "mlm" else (context + 1) / 2)
    whole = Position(step=1, seconds=0.1, attended=pairs)
    half = dataclasses.replace(whole, attended=pairs * pairs_of_half)
    found = [Throughput.of(cell, position, HARDWARE) for position in (whole, half)]
    assert [speed.utilisation for speed in found] == [
        pytest.approx(exact[0] / 98.9e12, rel=1e-3)
    ] * 2
    for speed, flops in zip(found, exact, strict=True):
        assert speed.utilisation_segments == pytest.approx(flops / 98.9e12, rel=1e-3)
