"""What `status` says of the end of a sweep is what a simulated cluster then does."""

import re
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from configs import read_config
from machines import machine

from plm_scaling.runs.status import CellState, cell_states
from plm_scaling.runs.time_left import look_ahead, time_left
from plm_scaling.study.layout import Layout
from plm_scaling.study.sweep_table import read_sweep
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import choose_layouts
from plm_scaling.sweep.cost import evaluation_share
from plm_scaling.sweep.order import Estimates, curves, jobs_in_order, write_estimates
from plm_scaling.sweep.schedule import Job, simulate
from plm_scaling.train.output.starts import note_start

HOUR = 3600.0


def true_ratio(cell):
    """What cells take of their estimate: assumed utilisations are wrong by size."""
    return 1.5 if cell.n_params < 2e7 else 0.8 if cell.n_params < 4e8 else 1.2


def off(said, true):
    return max(said / true, true / said)


def state_at(now, name, cell, job, start, end):
    """A cell of the cluster as its files would say, `now` hours after the start."""
    rate = cell.tokens * (1 + evaluation_share(cell)) / (end - start) / HOUR
    common = {"cell": name, "plan": cell, "loss": None, "eta_seconds": None}
    if now < start:
        return CellState(**common, state="waiting", tokens=0, tokens_per_second=None)
    common |= {"tokens_per_second": rate, "processes": job.gpus, "started": start * HOUR}
    if now < end:
        tokens = int(cell.tokens * (now - start) / (end - start))
        return CellState(**common, state="running", tokens=tokens)
    return CellState(**common, state="finished", tokens=cell.tokens, ended=end * HOUR)


@pytest.mark.parametrize("order", ["makespan", "first-law"])
@pytest.mark.parametrize(("gpus", "most"), [(8, 8), (32, 8), (128, 128), (512, 128)])
def test_time_left_is_within_a_factor_of_1_3_of_what_comes(root, order, gpus, most):
    config = read_config(root / "config.yaml")
    where = config.machine.model_copy(update={"order": order, "max_gpus": most})
    cells = plan_cells(config)
    jobs = jobs_in_order(cells, choose_layouts(cells.values(), where), where)
    noise = np.random.default_rng(0)
    true = {
        name: replace(job, hours=job.hours * true_ratio(cells[name]) * noise.lognormal(0, 0.1))
        for name, job in jobs.items()
    }
    times = simulate(true, gpus, 8)
    end = max(end for _, end in times.values())
    budget_factors = []
    for share in (0.02, 0.1, 0.3, 0.6, 0.9):
        now = share * end
        states = [state_at(now, name, cells[name], jobs[name], *times[name]) for name in cells]
        said = time_left(states, Estimates(jobs, "H100", 8), now * HOUR)
        left = sum(
            job.gpus * min(job.hours, max(0.0, times[name][1] - now)) for name, job in true.items()
        )
        assert said.process_hours == pytest.approx(left, rel=0.25)
        assert said.in_use == sum(
            jobs[name].gpus for name, (start, stop) in times.items() if start <= now < stop
        )
        assert off(said.finish / HOUR, end - now) < 1.3
        for budget, names in curves(cells).items():
            true_hours = max(times[name][1] for name in names) - now
            if true_hours <= 0:
                assert said.budgets[budget] == 0
            else:
                budget_factors.append(off(said.budgets[budget] / HOUR, true_hours))
    # Small cells of a late budget fill gaps, and a gap more or less moves its end.
    assert sorted(budget_factors)[-2] < 1.3
    assert max(budget_factors) < 1.5


@pytest.fixture
def study(tmp_path):
    """A study of finished cells with the estimate of an hour on one GPU each; its folder."""
    sweep = synthetic.write_study(tmp_path, n_sizes=4)
    jobs = {name: Job(1, 1.0) for name in read_sweep(sweep)}
    write_estimates(jobs, machine(), tmp_path / "estimates.json")
    return tmp_path


def text(folder, now):
    states = cell_states(folder / "sweep.tsv", folder / "runs", now)
    ahead = look_ahead(states, folder / "estimates.json", now)
    return ahead.text if ahead else ""


def test_text_says_what_is_left_in_use_and_when_each_budget_ends(study):
    run = study / "runs/clm001"
    run.joinpath("result.json").unlink()
    layout = Layout("cuda", tensor=2, pipeline=1, data=2, micro_batch_rows=1, recompute="none")
    note_start(run / "starts.json", {"data": "same"}, 0, layout)
    curve = run / "curve.csv"
    curve.write_text("".join(curve.read_text().splitlines(keepends=True)[:9]))
    first, second = text(study, curve.stat().st_mtime + 1).splitlines()
    assert re.fullmatch(
        r"\S+ H100-hours left · 4 in use · finished about \d{4}-\d\d-\d\d \d\d:\d\d, in \S+", first
    )
    assert re.fullmatch(
        r"cells from scratch of each budget finished: 3e\+11 \d{4}-\d\d-\d\d \d\d:\d\d · "
        r"1e\+12 done · 3e\+12 done",
        second,
    )


def test_stages_that_are_still_to_be_placed_are_named_also_when_all_known_cells_are_done(study):
    estimates = study / "estimates.json"
    jobs = {name: Job(1, 1.0) for name in read_sweep(study / "sweep.tsv")}
    write_estimates(jobs, machine(), estimates, {2: 1e13, 3: 1e14})
    (line,) = text(study, 0.0).splitlines()
    assert line.endswith("stage 2 (from 1e+13 FLOPs), 3 (from 1e+14 FLOPs)")


def test_while_no_cell_runs_there_is_no_date_but_what_is_left(study):
    for name in ("clm001", "clm002"):
        study.joinpath("runs", name, "result.json").unlink()
        study.joinpath("runs", name, "curve.csv").unlink()
    first, *others = text(study, 0.0).splitlines()
    assert re.fullmatch(r"\S+ H100-hours left · 0 in use", first)
    assert not re.search(r"\d{4}-", "".join(others))


def test_a_finished_sweep_and_one_without_estimates_say_nothing(study):
    assert text(study, 0.0) == ""
    study.joinpath("runs/clm001/result.json").unlink()
    study.joinpath("estimates.json").unlink()
    assert text(study, 0.0) == ""
