import json

import pytest
import synthetic

from plm_scaling.common.errors import SweepError
from plm_scaling.common.lock import held
from plm_scaling.runs.status import (
    STALLED_AFTER_SECONDS,
    STOPPED_AFTER_SECONDS,
    cell_states,
    status_table,
)
from plm_scaling.study.sweep_table import read_sweep


@pytest.fixture
def study(tmp_path):
    synthetic.write_study(tmp_path, n_sizes=4)
    return tmp_path


def states(folder, now=None):
    return {s.cell: s for s in cell_states(folder / "sweep.tsv", folder / "runs", now)}


def reset(folder, cell, keep_lines=None):
    """Take a cell back to before its result; `keep_lines` of its curve remain."""
    (folder / cell / "result.json").unlink()
    curve = folder / cell / "curve.csv"
    if keep_lines is None:
        curve.unlink()
    else:
        curve.write_text("".join(curve.read_text().splitlines(keepends=True)[: 1 + keep_lines]))
    return curve


def test_cell_states_distinguish_every_kind_of_cell(study):
    cells = read_sweep(study / "sweep.tsv")
    reset(study / "runs", "clm000")
    now = reset(study / "runs", "clm001", keep_lines=8).stat().st_mtime
    synthetic.write_cell(study / "runs/clm002", cells["clm002"], 3.0, status="diverged")
    found = states(study, now + 1)
    kinds = [found[f"clm00{i}"].state for i in range(4)]
    assert kinds == ["waiting", "running", "diverged", "finished"]
    assert found["clm000"].tokens == 0
    assert found["clm002"].loss is None
    assert found["clm003"].loss is not None
    running = found["clm001"]
    assert running.tokens == round(cells["clm001"].tokens / 2)
    assert running.tokens_per_second == 21000
    assert running.eta_seconds == pytest.approx(cells["clm001"].tokens / 2 / 21000, rel=0.01)


def test_cell_states_a_silent_cell_has_stalled_if_it_holds_its_lock_and_else_stopped(study):
    """A killed process leaves the file of its lock, which is free."""
    now = reset(study / "runs", "clm001", keep_lines=8).stat().st_mtime
    lock = study / "runs/clm001/lock"
    with held(lock):
        assert states(study, now + STOPPED_AFTER_SECONDS + 5)["clm001"].state == "running"
        assert states(study, now + STALLED_AFTER_SECONDS + 5)["clm001"].state == "stalled"
    lock.touch()
    found = states(study, now + STOPPED_AFTER_SECONDS + 5)["clm001"]
    assert (found.state, found.eta_seconds) == ("stopped", None)


def test_cell_states_cell_without_a_measurement_yet_is_running(study):
    """Resumed just before its first evaluation, it may save before it says how far it is."""
    now = reset(study / "runs", "clm001", keep_lines=0).stat().st_mtime
    found = states(study, now + 1)["clm001"]
    assert (found.state, found.tokens, found.loss, found.eta_seconds) == ("running", 0, None, None)


def test_cell_states_progress_file_is_newer_than_the_curve(study):
    now = reset(study / "runs", "clm001", keep_lines=2).stat().st_mtime
    progress = {"tokens": 12345, "loss": 3.3, "tokens_per_second": 500.0, "updated": now + 1000}
    (study / "runs/clm001/progress.json").write_text(json.dumps(progress))
    found = states(study, now + 1001)["clm001"]
    assert found.state == "running"
    assert found.tokens_per_second == 500.0


def test_cell_states_tolerate_half_written_files(study):
    curve = reset(study / "runs", "clm001", keep_lines=4)
    curve.write_text(curve.read_text() + "77,12")
    (study / "runs/clm001/progress.json").write_text('{"tokens": 12')
    assert states(study)["clm001"].tokens > 0


def test_cell_states_long_curve_is_read_from_its_end(study):
    curve = reset(study / "runs", "clm001", keep_lines=2)
    lines = [f"{i},{i * 4096},{i * 1e8},train,3.1,0.001,21000.0\n" for i in range(1, 5000)]
    curve.write_text(curve.read_text() + "".join(lines))
    assert states(study)["clm001"].tokens == 4999 * 4096


def test_status_table_totals_count_cells(study):
    reset(study / "runs", "clm000")
    now = reset(study / "runs", "clm001", keep_lines=8).stat().st_mtime
    table = status_table(cell_states(study / "sweep.tsv", study / "runs", now + 1))
    lines = table.splitlines()
    assert len(lines) == 24 + 4
    assert "22 of 24 cells finished" in lines[-1]
    assert "1 running" in lines[-1]
    assert "1 waiting" in lines[-1]


def test_status_table_with_a_queue_has_a_last_column(study):
    states = cell_states(study / "sweep.tsv", study / "runs")
    text = "job 12 running on n1, 3:20 of 1:00:00"
    lines = status_table(states, {"clm001": text}).splitlines()
    assert lines[0].endswith("  Slurm")
    rows = {line.split()[0]: line for line in lines[2:26]}
    assert rows["clm001"].endswith(f"  {text}")
    assert not rows["clm000"].endswith(text)
    assert status_table(states, {}) == status_table(states)


def test_status_table_of_a_finished_sweep(study):
    table = status_table(cell_states(study / "sweep.tsv", study / "runs"))
    assert "24 of 24 cells finished" in table
    assert "100 % of" in table


@pytest.mark.parametrize("said", [b"[1]", b"7", b'"a"', b"\xff", b'{"updated": "now"}'])
def test_progress_that_is_none_hides_nothing(study, said):
    reset(study / "runs", "clm001", keep_lines=8)
    (study / "runs/clm001/progress.json").write_bytes(said)
    assert states(study)["clm001"].state == "running"


def test_sweep_that_is_no_text_is_named(study):
    (study / "sweep.tsv").write_bytes(b"cell\tpart\n\xff\n")
    with pytest.raises(SweepError, match=r"sweep.tsv: no table \(.*; write it again"):
        read_sweep(study / "sweep.tsv")
