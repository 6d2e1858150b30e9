"""The sweep that data and compute allow: always a valid design within the limits, or a refusal."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plm_scaling.common.errors import ConfigError
from plm_scaling.init.make import own_share
from plm_scaling.init.proteins import Proteins
from plm_scaling.init.request import CPU_GFLOPS, request_of
from plm_scaling.init.settings import blocks
from plm_scaling.init.sizing import FEWEST, PLACED, Limits, largest_within
from plm_scaling.laws.points import MAX_EPOCHS
from plm_scaling.planner.trust import REFUSED
from plm_scaling.preflight.cost import cost
from plm_scaling.study.shapes import SHAPES
from plm_scaling.sweep.cells import plan_cells


def sized(sequences, gpus, hours, objectives=("clm", "mlm")):
    """What `init` makes of so many proteins of 350 residues."""
    residues = 350 * sequences
    path = Path("/proteins/mine.fasta")
    request = request_of(Path("mine"), [path], gpus, None, hours, [*objectives], None, "init")
    proteins = Proteins(
        *((path,), 1, sequences, residues, 300, sequences, residues),
        cost(sequences, residues, 0.1, 2),
    )
    limits = Limits(request.devices, request.objectives, MAX_EPOCHS * proteins.unique)
    complete = lambda sweep, fewest: blocks(request, proteins, {}, sweep, fewest)  # noqa: E731
    return *largest_within(limits, complete), proteins, limits


@given(
    sequences=st.floats(1, 9.5).map(lambda power: int(10**power)),
    device=st.sampled_from(["CPU", "RTX4090", "A100", "H100"]),
    count=st.sampled_from([1, 2, 8, 64]),
    hours=st.floats(-1.5, 3.5).map(lambda power: 10**power),
    objectives=st.sampled_from([("clm",), ("mlm",), ("clm", "mlm")]),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_any_compute_and_data_give_a_sweep_within_them_or_a_refusal(
    sequences, device, count, hours, objectives
):
    try:
        sizing, limit, proteins, _limits = sized(sequences, f"{count}x{device}", hours, objectives)
    except ConfigError:
        return  # what it says is tested below
    assert sizing.cost.hours <= count * hours
    if device == "CPU":  # where a cell has one core, of at most so many FLOP/s
        stages = [sizing.sweep["budgets_flops"][-1 - n] for n in range(PLACED + 1)]
        assert sum(stages) / 1e9 / CPU_GFLOPS / 3600 <= hours
    of_all = [point.tokens for points in sizing.points.values() for point in points]
    assert sizing.fewest_tokens == pytest.approx(min(of_all), rel=0.02)
    assert sizing.most_tokens == max(of_all)
    assert sizing.most_tokens <= 1.01 * MAX_EPOCHS * proteins.tokens
    cells = plan_cells(sizing.config).values()  # of the budgets that are not placed
    for objective in objectives:
        budgets = sizing.sweep["budgets_flops"]
        of_first = [c.flops_budget for c in cells if c.objective == objective]
        assert sorted(set(of_first)) == budgets[:-PLACED]
        assert min(map(of_first.count, budgets[:-PLACED])) >= FEWEST
    assert limit in ("tokens", "compute", "sizes")
    low, high = sizing.sweep["tokens_per_parameter"]
    for budget in budgets[-PLACED:]:  # what a later stage may choose from
        sizes = [SHAPES[name].n_params("study") for name in sizing.sweep["sizes"]]
        there = [n for n in sizes if low <= budget / 6 / n**2 <= high]
        assert len(there) >= FEWEST
        assert budget / 6 / min(there) <= 1.01 * MAX_EPOCHS * proteins.tokens


def test_more_time_is_a_larger_sweep_until_the_proteins_are_used_up():
    largest, limits = [], []
    for hours in (0.2, 1, 10, 100):
        sizing, limit, *_ = sized(30_000, "2xCPU", hours)
        largest.append(sizing.largest)
        limits.append(limit)
    assert largest == sorted(largest)
    assert largest[0] < largest[1]
    assert limits[0] == "compute"
    assert limits[-1] == "tokens"
    assert largest[2] == largest[3]


def test_cells_of_many_cores_end_one_stage_after_another_in_the_time():
    of_two, _, _, _ = sized(1_000_000, "2xCPU", 1)
    of_many, limit, _, _ = sized(1_000_000, "64xCPU", 1)
    assert of_many.largest > of_two.largest
    assert limit == "compute"
    assert sum(of_many.sweep["budgets_flops"][-PLACED - 1 :]) / 1e9 / 3600 < of_many.wall_hours <= 1


@pytest.mark.parametrize(
    ("own", "mixed", "share"),
    [(1e11, 1e11, 0.5), (1e9, 1e11, 0.1), (1e11, 1e9, 0.9), (1e9, 0, 1)],
)
def test_neither_own_nor_mixed_in_proteins_are_seen_too_often(own, mixed, share):
    sizing = SimpleNamespace(most_tokens=10 * MAX_EPOCHS * 1e9)
    assert own_share(SimpleNamespace(tokens=own, beside=mixed), sizing) == share


def test_sizes_lie_around_the_optima_of_the_published_laws_where_they_reach():
    sizing, _, _, limits = sized(2_000_000_000, "64xH100", 720)
    assert sizing.by_law
    for entry in sizing.sweep["designed"]:
        prior = limits.priors[entry["objective"]]
        assert prior.fitted[0] / REFUSED <= entry["flops"]
        middle = np.log([SHAPES[name].n_params("study") for name in entry["sizes"]]).mean()
        assert abs(middle - prior.log_size(entry["flops"])) < 0.7


def test_few_proteins_or_little_time_are_refused_with_what_would_do():
    with pytest.raises(ConfigError, match=r"too few to train from scratch.*--mix uniref50"):
        sized(50, "8xA100", 100)
    with pytest.raises(ConfigError, match=r"too little for the smallest sweep.*--days"):
        sized(3000, "1xCPU", 0.01)


def test_known_shapes_rise_and_each_is_named_by_its_size():
    counts = [shape.n_params("study") for shape in SHAPES.values()]
    ratios = np.divide(counts[1:], counts[:-1])
    assert (ratios > 1).all()
    suffixes = {"k": 1e3, "M": 1e6, "B": 1e9}
    for name, n in zip(SHAPES, counts, strict=True):
        named = float(name.rstrip("kMB")) * suffixes.get(name[-1], 1)
        assert n == pytest.approx(named, rel=0.08)
