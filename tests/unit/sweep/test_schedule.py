"""A simulated scheduler keeps to GPUs, nodes and order; orders do what their names say."""

import pytest
from configs import read_config
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.common.errors import SweepError
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import choose_layouts
from plm_scaling.sweep.order import curves, jobs_in_order, read_estimates, write_estimates
from plm_scaling.sweep.schedule import Job, simulate


def test_jobs_start_in_order_and_after_the_cell_that_they_wait_for():
    jobs = {"a": Job(1, 3.0), "b": Job(1, 1.0, after="a"), "c": Job(1, 2.0), "d": Job(1, 1.0)}
    times = simulate(jobs, 2, 2)
    assert times == {"a": (0, 3), "c": (0, 2), "d": (2, 3), "b": (3, 4)}


def test_a_cell_that_has_ended_before_is_not_waited_for():
    assert simulate({"a": Job(1, 1.0, after="ended")}, 1, 1) == {"a": (0, 1)}


def test_a_large_job_has_gpus_kept_and_only_what_ends_by_then_starts_before():
    jobs = {"first": Job(1, 2.0), "large": Job(2, 1.0), "long": Job(1, 3.0), "short": Job(1, 2.0)}
    times = simulate(jobs, 2, 2)
    assert times["short"] == (0, 2)
    assert times["large"] == (2, 3)
    assert times["long"] == (3, 6)


def test_a_job_of_a_node_waits_for_one_whole_node():
    """Two nodes of four: three and three in use leave two GPUs, on different nodes."""
    jobs = {"a": Job(3, 2.0), "b": Job(3, 1.0), "two": Job(2, 1.0), "node": Job(4, 1.0)}
    times = simulate(jobs, 8, 4)
    assert times["two"] == (1, 2)
    assert times["node"] == (2, 3)


def test_a_job_of_several_nodes_takes_whole_ones():
    jobs = {"one": Job(1, 1.0), "nodes": Job(8, 1.0), "other": Job(1, 1.0)}
    times = simulate(jobs, 12, 4)
    assert times == {"one": (0, 1), "nodes": (0, 1), "other": (0, 1)}
    assert simulate(jobs | {"one": Job(1, 5.0)}, 8, 4)["nodes"] == (5, 6)


def test_a_job_that_never_fits_is_an_error_that_names_it():
    with pytest.raises(SweepError, match="cell a takes 4 GPUs, of which this machine has 2"):
        simulate({"a": Job(4, 1.0)}, 2, 4)
    with pytest.raises(SweepError, match="cell a takes 16 GPUs, of which this machine has 8"):
        simulate({"a": Job(16, 1.0)}, 12, 8)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 4, 8]), st.integers(1, 9), st.integers(0, 40)),
        min_size=1,
        max_size=25,
    )
)
def test_no_more_gpus_are_in_use_than_there_are_and_every_job_runs(drawn):
    jobs = {
        str(i): Job(gpus, float(hours), after=str(after) if after < i else None)
        for i, (gpus, hours, after) in enumerate(drawn)
    }
    times = simulate(jobs, 12, 4)
    assert times.keys() == jobs.keys()
    for name, (start, end) in times.items():
        assert end - start == jobs[name].hours
        assert jobs[name].after is None or times[jobs[name].after][1] <= start
        at_once = [jobs[n].gpus for n, (s, e) in times.items() if s <= start < e]
        assert sum(at_once) <= 12


@pytest.fixture(scope="module")
def full(root):
    return read_config(root / "config.yaml")


def in_order(config, order, **changes):
    """The study's cells, and their jobs in an order."""
    cells = plan_cells(config)
    machine = config.machine.model_copy(update={"order": order, **changes})
    return cells, jobs_in_order(cells, choose_layouts(cells.values(), machine), machine)


def test_makespan_starts_the_longest_chain_first(full):
    cells, jobs = in_order(full, "makespan")
    chains = {
        name: job.hours + max((j.hours for j in jobs.values() if j.after == name), default=0.0)
        for name, job in jobs.items()
    }
    assert list(jobs) == sorted(cells, key=lambda name: -chains[name])
    sources = {job.after for job in jobs.values()} - {None}
    assert any(chains[name] > jobs[name].hours for name in sources)


def test_first_law_starts_the_cheapest_budget_first(full):
    cells, jobs = in_order(full, "first-law")
    budgets = [cells[name].flops_budget for name in jobs]
    assert budgets == sorted(budgets)
    sources = {job.after for job in jobs.values()}
    alone = [n for n in jobs if cells[n].flops_budget == 1e18 and n not in sources]
    hours = [jobs[name].hours for name in alone]
    assert hours == sorted(hours, reverse=True)


@pytest.mark.parametrize(("gpus", "most"), [(8, 8), (128, 128), (512, 128)])
def test_orders_of_the_full_study_end_it_soon_or_close_the_first_curve_early(full, gpus, most):
    ends, first = {}, {}
    for order in ("makespan", "first-law"):
        cells, jobs = in_order(full, order, max_gpus=most)
        times = simulate(jobs, gpus, 8)
        ends[order] = max(end for _, end in times.values())
        first[order] = max(times[name][1] for name in curves(cells)[1e18])
    longest = max(job.hours for job in jobs.values())
    bound = max(sum(job.gpus * job.hours for job in jobs.values()) / gpus, longest)
    assert ends["makespan"] < 1.15 * bound
    assert ends["makespan"] < ends["first-law"]
    assert first["first-law"] < first["makespan"] / 10


def test_curves_are_budgets_of_several_sizes_from_scratch(full):
    cells = plan_cells(full)
    found = curves(cells)
    assert list(found) == full.sweep.budgets_flops
    assert all(cells[name].init_from is None for names in found.values() for name in names)


def test_estimates_are_read_as_written_and_missing_ones_are_an_error(full, tmp_path):
    _, jobs = in_order(full, "makespan")
    write_estimates(jobs, full.machine, tmp_path / "results/full/estimates.json")
    found = read_estimates(tmp_path / "results/full/estimates.json")
    assert list(found.jobs.items()) == list(jobs.items())
    assert (found.gpu, found.gpus_per_node) == ("H100", 8)
    with pytest.raises(SweepError, match="none"):
        read_estimates(tmp_path / "none.json")
