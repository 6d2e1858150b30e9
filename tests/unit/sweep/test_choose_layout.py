"""The layout of a cell: always possible, always in memory, on as few GPUs as the time allows."""

import itertools
from dataclasses import replace

import pytest
from cell_fixtures import cell_of
from configs import read_config
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import machine

from plm_scaling.common.errors import SweepError
from plm_scaling.study.hardware import GPUS
from plm_scaling.study.layout import Layout, check_layout
from plm_scaling.study.shapes import STUDY_GRID, Shape
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import (
    USABLE_SHARE,
    choose_layout,
    choose_layouts,
    max_pass_tokens,
)
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.memory import process_memory


def cell_at(size, flops=1e21, rows=512, context=1024, objective="clm", recipe="study", **changes):
    """A cell of the study's grid with as many exact FLOPs as are named."""
    fields = {"size": size, "flops_exact": flops, "batch_rows": rows, "context_length": context}
    fields |= {"precision": "bf16", "valid_rows": 3072}
    return cell_of(objective, STUDY_GRID[size], recipe, **(fields | changes))


cells = st.builds(
    cell_at,
    st.sampled_from(["3.5M", "47M", "393M", "1.2B", "2.8B", "5B", "7.2B", "10.7B"]),
    st.sampled_from([1e18, 1e20, 1e22]),
    st.sampled_from([64, 96, 512, 1024]),
    st.sampled_from([512, 1024]),
    recipe=st.sampled_from(["study", "prenorm"]),
    precision=st.sampled_from(["bf16", "fp32"]),
)
machines = st.builds(
    lambda gpu, per_node, nodes, hours: machine(
        gpu=gpu, gpus_per_node=per_node, max_gpus=per_node * nodes, target_hours=hours
    ),
    st.sampled_from(list(GPUS)),
    st.sampled_from([2, 4, 6, 8]),
    st.integers(1, 8),
    st.sampled_from([1.0, 24.0, 1e9]),
)


def limit(where):
    return USABLE_SHARE * GPUS[where.gpu].memory_bytes


def gpu_counts(cell, where):
    """Up to a node, and whole nodes: those that divide the batch, if a whole node does."""
    counts = [
        n
        for n in range(1, where.max_gpus + 1)
        if n <= where.gpus_per_node or n % where.gpus_per_node == 0
    ]
    dividing = [n for n in counts if cell.batch_rows % n == 0]
    return dividing if max(dividing) >= where.gpus_per_node else counts


def possible(cell, where):
    """Every layout of one row at a time that divides cell and machine and fits, found by trying."""
    for count in gpu_counts(cell, where):
        on_node = min(count, where.gpus_per_node)
        for tensor, pipeline in itertools.product(range(1, on_node + 1), range(1, count + 1)):
            if count % (tensor * pipeline) or on_node % tensor:
                continue
            for recompute in ("none", "full"):
                data = count // (tensor * pipeline)
                layout = Layout("cuda", tensor, pipeline, data, 1, recompute)
                try:
                    check_layout(cell, layout)
                except SweepError:
                    continue
                if process_memory(cell, layout).total <= limit(where):
                    yield layout


@settings(max_examples=60)
@given(cells, machines)
def test_layout_is_valid_in_memory_and_on_as_few_gpus_as_the_time_allows(cell, where):
    others = list(possible(cell, where))
    if not others:
        with pytest.raises(SweepError, match=f"size {cell.size} .*nothing fits"):
            choose_layout(cell, where)
        return
    layout = choose_layout(cell, where)
    check_layout(cell, layout)
    assert process_memory(cell, layout).total <= limit(where)
    assert layout.processes in gpu_counts(cell, where)
    hours = estimated_hours(cell, layout, where)
    fast = [other for other in others if estimated_hours(cell, other, where) <= where.target_hours]
    if fast:
        assert hours <= where.target_hours
        assert layout.processes == min(other.processes for other in fast)
        least = min(
            (other.pipeline, other.tensor) for other in fast if other.processes == layout.processes
        )
        assert (layout.pipeline, layout.tensor) == least
    else:
        assert hours == min(estimated_hours(cell, other, where) for other in others)


@settings(max_examples=60)
@given(cells, machines)
def test_pass_is_the_largest_that_fits_and_recomputes_only_when_one_row_does_not(cell, where):
    try:
        layout = choose_layout(cell, where)
    except SweepError:
        return
    rows = cell.batch_rows // layout.data
    most = max_pass_tokens(cell, "cuda")
    assert layout.micro_batch_rows * cell.context_length <= most
    if layout.pipeline == 1:
        for more in range(layout.micro_batch_rows + 1, rows + 1):
            if rows % more == 0 and more * cell.context_length <= most:
                larger = Layout("cuda", layout.tensor, 1, layout.data, more, layout.recompute)
                assert process_memory(cell, larger).total > limit(where)
    if layout.recompute == "full":
        divided = (layout.tensor, layout.pipeline, layout.data)
        assert process_memory(cell, Layout("cuda", *divided, 1, "none")).total > limit(where)


@settings(max_examples=60)
@given(st.lists(st.builds(replace, cells, seed=st.integers(1, 2)), max_size=8))
def test_layouts_of_many_cells_are_those_of_each(several):
    where = machine()
    assert choose_layouts(several, where) == [choose_layout(cell, where) for cell in several]


@settings(max_examples=60)
@given(cells, machines, st.sampled_from([("V100", "V100-32GB"), ("A100-40GB", "A100"),
                                         ("H100", "H200")]))  # fmt: skip
def test_more_memory_never_needs_more_gpus(cell, where, gpus):
    small, large = (where.model_copy(update={"gpu": gpu}) for gpu in gpus)
    try:
        few = choose_layout(cell, small)
    except SweepError:
        return
    with_more = choose_layout(cell, large)
    if estimated_hours(cell, few, small) <= where.target_hours:
        assert with_more.processes <= few.processes
    else:
        assert estimated_hours(cell, with_more, large) <= estimated_hours(cell, few, small)


@pytest.mark.parametrize("gpu", ["H100", "A100", "A100-40GB"])
def test_every_cell_of_the_full_study_has_a_layout(root, gpu):
    config = read_config(root / "config.yaml")
    where = config.machine.model_copy(update={"gpu": gpu})
    for cell in plan_cells(config).values():
        layout = choose_layout(cell, where)
        check_layout(cell, layout)
        assert process_memory(cell, layout).total <= limit(where)
        if cell.n_params < 1e9:
            assert layout.processes == layout.data


def test_layout_error_names_the_size_and_what_would_fit():
    where = machine(gpu="RTX4090", gpus_per_node=2, max_gpus=2)
    with pytest.raises(SweepError) as error:
        choose_layout(cell_at("10.7B"), where)
    for fragment in ("10.7B", "2 RTX4090", "24GB", "max_gpus", "more memory"):
        assert fragment in str(error.value)


def test_given_parts_of_a_layout_are_kept_and_the_rest_is_chosen():
    cell = cell_at("7.2B", flops=1e22)
    free = choose_layout(cell, machine())
    assert (free.tensor, free.recompute) == (1, "none")
    kept = choose_layout(cell, machine(layouts={"7.2B": {"tensor": 2, "recompute": "full"}}))
    assert (kept.tensor, kept.recompute) == (2, "full")
    assert kept.processes == 64  # with which it is fastest
    check_layout(cell, kept)
    assert choose_layout(cell_at("5B"), machine(layouts={"7.2B": {"tensor": 2}})).tensor == 1


def test_layout_given_whole_is_used_unchanged():
    given = {"tensor": 1, "pipeline": 1, "data": 1, "micro_batch_rows": 512, "recompute": "none"}
    layout = choose_layout(cell_at("7.2B"), machine(layouts={"7.2B": given}))
    assert layout == Layout("cuda", **given)


@pytest.mark.parametrize(
    ("given", "fragment"),
    [
        ({"tensor": 3}, "tensor 3 does not divide heads 32"),
        ({"pipeline": 5}, "pipeline 5 does not divide layers 36"),
        ({"data": 3}, "does not divide the 512 rows"),
        ({"micro_batch_rows": 3}, "does not divide the 512 rows"),
        ({"data": 128}, "no number of these GPUs"),
        ({"micro_batch_rows": 512, "recompute": "none"}, "nothing fits.*give less"),
    ],
)
def test_impossible_given_parts_are_refused_by_name(given, fragment):
    with pytest.raises(SweepError, match=fragment):
        choose_layout(cell_at("7.2B"), machine(layouts={"7.2B": given}))


def cpu_cell(rows, context=256):
    return cell_of("mlm", Shape(2, 64, 170, 4), batch_rows=rows, context_length=context)


@pytest.mark.parametrize(
    ("rows", "processes", "data", "micro"), [(64, 1, 1, 64), (64, 4, 4, 16), (6, 4, 3, 2)]
)
def test_cpu_processes_share_the_batch_as_far_as_it_divides(rows, processes, data, micro):
    layout = choose_layout(cpu_cell(rows), machine(backend="cpu", cpu_processes=processes))
    assert layout == Layout("cpu", 1, 1, data, micro, "none")


def test_cpu_pass_has_at_most_the_useful_number_of_tokens():
    layout = choose_layout(cpu_cell(512, 1024), machine(backend="cpu"))
    assert layout.micro_batch_rows * 1024 == max_pass_tokens(cpu_cell(512, 1024), "cpu")


def test_cpu_refuses_layouts_it_cannot_train():
    with pytest.raises(SweepError, match="fp32"):
        choose_layout(cell_at("3.5M"), machine(backend="cpu"))
    where = machine(backend="cpu", layouts={"test": {"pipeline": 2}})
    with pytest.raises(SweepError, match="pipeline"):
        choose_layout(cpu_cell(4), where)


def test_layout_as_json_read_back_is_the_same():
    layout = Layout("cuda", 2, 3, 4, 8, "full")
    assert Layout.from_json(layout.to_json()) == layout


@pytest.mark.parametrize(
    ("old", "new", "fragment"),
    [
        ('"data"', '"date"', "date"),
        ('"tensor": 2', '"tensor": 0', "tensor is 0"),
        ('"tensor": 2', '"tensor": 2.5', "tensor is 2.5"),
        ('"step_log_rows": 1000', '"step_log_rows": 0', "step_log_rows is 0"),
        ('"start_minutes": 30.0', '"start_minutes": 0', "start_minutes is 0"),
        ('"cuda"', '"gpu"', "cpu or cuda"),
        ('"full"', '"half"', "none or full"),
        ("}", "", "--layout is not JSON"),
    ],
)
def test_layout_as_json_with_a_mistake_is_refused(old, new, fragment):
    text = Layout("cuda", 2, 3, 4, 8, "full").to_json().replace(old, new)
    with pytest.raises(SweepError, match=fragment):
        Layout.from_json(text)
