"""What is known of a study: before it, in the middle, at its end, from files however damaged."""

import json
import os
import shutil
import time

import pytest
import synthetic
import watched
from snakemake_says import Snakemake

from plm_scaling.runs.job_events import FILE as JOB_EVENTS
from plm_scaling.runs.queue import QueuedJob
from plm_scaling.slurm.journal import FILE as JOURNAL
from plm_scaling.slurm.journal import Journal, job_name
from plm_scaling.watch.curves import POINTS, read_cell_curves
from plm_scaling.watch.places import Place, find_places
from plm_scaling.watch.queue import Queue
from plm_scaling.watch.reader import WITHOUT_SNAKEMAKE, Reader
from plm_scaling.watch.remember import Remembered


@pytest.fixture(scope="module")
def half_done_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half_done")
    with watched.write_half_done(folder):
        pass
    return folder


@pytest.fixture
def half_done(half_done_once, tmp_path):
    """A study of which one cell trains, one has failed; the run of Snakemake goes on."""
    shutil.copytree(half_done_once, tmp_path, dirs_exist_ok=True)
    now = time.time()
    watched.write_running(tmp_path / "results/demo", watched.RUNNING, now)
    return tmp_path


def reader(folder, queue=Queue()):  # noqa: B008
    return Reader(folder, Place(folder).sweeps, lambda: queue)


def read(folder, **given):
    """As programs get it: through JSON, without NaN."""
    state = reader(folder, **given).read(time.time())
    return json.loads(json.dumps(state.to_json(), allow_nan=False))


def test_half_done_study_says_which_cells_are_in_which_state_and_why(half_done):
    said = read(half_done)
    (study,) = said["studies"]
    cells = {cell["cell"]: cell for cell in study["cells"]}
    assert {name: cell["state"] for name, cell in cells.items() if cell["state"] != "finished"} == {
        watched.RUNNING: "running",
        watched.STOPPED: "stopped",
        watched.WAITING: "waiting",
        watched.FAILED: "failed",
        watched.DIVERGED: "diverged",
    }
    assert cells[watched.FAILED]["reason"] == watched.WHY
    assert cells[watched.DIVERGED]["reason"] == "loss is not finite at the last evaluation"
    running = cells[watched.RUNNING]
    assert running["tokens"] == pytest.approx(running["tokens_planned"] / 2, rel=0.01)
    assert running["eta_seconds"] == pytest.approx(running["tokens"] / 4e3, rel=0.01)
    assert running["against_forecast"].endswith(" sigmas below")  # its forecast is 0.1 nats off
    (failed,) = said["failed"]
    assert failed["log"] == f"logs/demo/train/{watched.FAILED}.log"
    assert 0 < study["share_done"] < 1
    assert study["time_left"]["finish"] > time.time()
    assert len(study["forecasts"]) == 10


def test_cell_whose_job_waits_in_slurm_is_queued(half_done):
    Journal(half_done / JOURNAL).write()  # this study runs on Slurm
    told = {"where": "(Priority)", "used": "0:00", "limit": "1:00", "never_starts": None}
    told |= {"state": "PENDING", "job": f"train_cell {watched.FAILED}"}
    output = f"runs/{watched.FAILED}/result.json"
    here, there = job_name(half_done, "plm"), job_name(half_done.parent, "plm")
    jobs = [
        QueuedJob(number="7", name=here, output=f"results/demo/{output}", **told),
        QueuedJob(number="8", name=here, output=f"results/other/{output}", **told),
        QueuedJob(number="9", name=there, output=f"results/demo/{output}", **told),
        QueuedJob(number="10", name=here, output="data/x", **told | {"job": "deduplicate"}),
    ]
    said = read(half_done, queue=Queue(jobs))
    assert said["slurm"] == ["Slurm: 2 pending (Priority)"]
    (study,) = said["studies"]
    (cell,) = (cell for cell in study["cells"] if cell["cell"] == watched.FAILED)
    assert (cell["state"], cell["slurm"]) == ("queued", "job 7 pending (Priority)")
    assert said["notes"][0].startswith("the last Snakemake here has ended and left jobs in Slurm's")


@pytest.mark.parametrize(
    ("cell", "slurm", "state"),
    [
        (watched.WAITING, "RUNNING", "starting"),
        (watched.STOPPED, "RUNNING", "starting"),
        (watched.RUNNING, "RUNNING", "running"),
        # It wrote a moment ago, and its node was lost since.
        (watched.RUNNING, "PENDING", "queued"),
        *((watched.STOPPED, held, "queued") for held in ("SUSPENDED", "SPECIAL_EXIT", "STOPPED")),
        (watched.STOPPED, "COMPLETING", "stopped"),
    ],
)
def test_cell_is_in_no_other_state_than_its_job(half_done, cell, slurm, state):
    Journal(half_done / JOURNAL).write()
    told = {"where": "n1", "used": "0:09", "limit": "1:00", "never_starts": None, "state": slurm}
    told |= {"job": f"train_cell {cell}", "output": f"results/demo/runs/{cell}/result.json"}
    said = read(half_done, queue=Queue([QueuedJob("7", job_name(half_done, "plm"), **told)]))
    (study,) = said["studies"]
    (found,) = (found for found in study["cells"] if found["cell"] == cell)
    assert found["state"] == state
    assert (found["eta_seconds"] is None) == (state != "running")
    # What holds GPUs is in use: the cell that runs, and the one that starts.
    at_work = sum(found["state"] in ("running", "starting") for found in study["cells"])
    others = cell != watched.RUNNING
    assert study["time_left"]["in_use"] == at_work == others + (state in ("running", "starting"))


@pytest.mark.parametrize(("later", "state"), [(1, "queued"), (-1, "running")])
def test_a_cell_that_wrote_after_the_queue_was_asked_is_not_queued(half_done, later, state):
    """The queue is shown for half a minute, files are read at once."""
    Journal(half_done / JOURNAL).write()
    told = {"where": "(BeginTime)", "used": "0:00", "limit": "1:00", "never_starts": None}
    told |= {"job": f"train_cell {watched.RUNNING}", "state": "PENDING"}
    output = f"results/demo/runs/{watched.RUNNING}/result.json"
    jobs = [QueuedJob("7", job_name(half_done, "plm"), output=output, **told)]
    progress = half_done / "results/demo/runs" / watched.RUNNING / "progress.json"
    written = max(file.stat().st_mtime for file in progress.parent.glob("[cp]*.*"))
    said = read(half_done, queue=Queue(jobs, asked=written + later))
    (found,) = (c for c in said["studies"][0]["cells"] if c["cell"] == watched.RUNNING)
    assert found["state"] == state


@pytest.mark.parametrize(
    ("slurm", "later", "noted"),
    [("RUNNING", 1, True), ("PENDING", 1, True), ("COMPLETING", 1, False), ("RUNNING", -1, False)],
)
def test_jobs_are_said_to_be_left_if_they_go_on_after_the_end_of_snakemake(
    half_done, slurm, later, noted
):
    """A queue that was asked before has the jobs that it waited for, or has cancelled."""
    Journal(half_done / JOURNAL).write()
    told = {"where": "n1", "used": "0:00", "limit": "1:00", "never_starts": None, "state": slurm}
    jobs = [QueuedJob("7", job_name(half_done, "plm"), job="filter", output="data/x", **told)]
    before = time.time()
    with Snakemake(half_done):
        os.utime(half_done / JOB_EVENTS, (0, 0))
    ended = (half_done / JOB_EVENTS).stat().st_mtime
    assert ended >= before - 0.1  # of the run's end, not of its last event
    notes = read(half_done, queue=Queue(jobs, asked=ended + later))["notes"]
    assert (WITHOUT_SNAKEMAKE in notes) == noted


def test_law_so_far_is_that_of_the_finished_cells(half_done):
    laws = {law["objective"]: law for law in read(half_done)["studies"][0]["laws"]}
    assert set(laws) == {"clm", "mlm"}
    assert "of 13 runs used" in laws["clm"]["sentence"]
    assert "of 12 runs used" in laws["mlm"]["sentence"]
    assert [round(row["flops"] / 1e11) for row in laws["clm"]["minima"]] == [3, 10, 30]


def test_law_so_far_is_fitted_again_when_a_cell_has_ended(half_done, monkeypatch):
    from plm_scaling.watch import law_so_far

    fits = []
    fit = law_so_far.fit_tables
    monkeypatch.setattr(law_so_far, "fit_tables", lambda *given: fits.append(1) or fit(*given))
    again = reader(half_done)
    for _ in range(3):
        again.read(time.time())
    assert len(fits) == 2  # objectives
    results = half_done / "results/demo"
    cell = again.read(time.time()).studies[0].cells[0].plan
    synthetic.write_cell(results / "runs" / watched.STOPPED, cell, 2.6)
    again.read(time.time())
    assert len(fits) == 4


def test_stages_of_the_run_with_what_is_left_of_those_whose_jobs_are_alike(tmp_path):
    watched.write_half_done(tmp_path).__exit__()
    with Snakemake(tmp_path, watched.RULES) as run:
        for number in (1, 2, 3):
            run.starts(number, "score_part", f"part{number}", ["logs/select.log"])
        run.finishes(1)
        said = read(tmp_path)["workflow"]
        stages = {stage["name"]: stage for stage in said["stages"]}
        assert said["state"] == "running"
        assert [*stages] == ["dedup", "filter", "train"]
        counts = ("jobs", "done", "running", "failed")
        assert [stages["filter"][name] for name in counts] == [4, 1, 2, 0]
        assert stages["filter"]["left_seconds"] is not None
        assert stages["dedup"]["left_seconds"] is stages["train"]["left_seconds"] is None
        assert [(job["rule"], job["said"]) for job in said["jobs"]] == [
            ("score_part", "[select] 40 % of 2M")
        ] * 2
    said = read(tmp_path)["workflow"]
    assert (said["state"], said["jobs"]) == ("ended", [])


def test_a_study_has_ended_when_neither_snakemake_nor_a_cell_is_at_work(half_done, tmp_path):
    assert not read(half_done)["ended"]  # a cell trains, whoever started it
    past = time.time() - 3600
    watched.write_running(half_done / "results/demo", watched.RUNNING, past)
    assert read(half_done)["ended"]
    with Snakemake(half_done, watched.RULES):
        assert not read(half_done)["ended"]


def test_folder_in_which_nothing_has_begun(tmp_path):
    said = read(tmp_path)
    assert (said["studies"], said["failed"], said["ended"]) == ([], [], False)
    assert said["workflow"]["state"] == "not started"


@pytest.mark.parametrize(
    "damaged",
    [
        f"runs/{watched.RUNNING}/curve.csv",
        f"runs/{watched.RUNNING}/steps.csv",
        f"runs/{watched.RUNNING}/progress.json",
        "runs/clm000/result.json",
        "runs/clm000/curve.csv",
        f"forecasts/{watched.RUNNING}.json",
        "estimates.json",
        "sweep.tsv",
        "../../.snakemake/jobs.jsonl",
    ],
)
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_file_that_is_cut_off_hides_nothing_else(half_done, damaged, kept):
    results = half_done / "results/demo"
    content = (results / damaged).read_bytes()
    (results / damaged).write_bytes(content[: int(len(content) * kept)])
    (study,) = read(half_done)["studies"]
    curves = read_cell_curves(results, watched.RUNNING, Remembered())
    if damaged == "sweep.tsv":
        assert study["problem"] or len(study["cells"]) < 30
        return
    assert len(study["cells"]) == 30
    assert len(study["laws"]) == 2
    assert curves.valid or damaged.endswith("curve.csv")
    assert curves.train or damaged.endswith("steps.csv")


@pytest.mark.parametrize(
    ("old", "new"), [('"predicted": ', '"predicted": NaN, "was": '), ('"share": ', '"part": ')]
)
def test_forecast_that_is_damaged_is_a_note(half_done, old, new):
    file = half_done / f"results/demo/forecasts/{watched.RUNNING}.json"
    file.write_text(file.read_text().replace(old, new))
    said = read(half_done)
    (study,) = said["studies"]
    assert len(study["forecasts"]) == 9
    (note,) = said["notes"]
    assert note.startswith(f"{file}: not a forecast (")
    assert "\n" not in note


def test_curves_of_a_cell_that_trains_have_points_enough_and_not_more(half_done):
    curves = read_cell_curves(half_done / "results/demo", watched.RUNNING, Remembered())
    assert len(curves.train) == POINTS < watched.STEPS
    assert len(curves.valid) == 4
    assert len(curves.forecast) == 20
    first, *_, last = curves.train
    assert first[0] < last[0]
    assert first[1] > last[1]


def test_places_are_folders_of_studies_or_their_results(half_done, monkeypatch):
    monkeypatch.chdir(half_done)
    (half_done / "new").mkdir()
    for given in ([], ["."], ["results/demo"], [half_done]):
        (place,) = find_places([*map(half_done.__class__, given)])
        assert place.folder.resolve() == half_done
        assert [sweep.resolve() for sweep in place.sweeps()] == [
            half_done / "results/demo/sweep.tsv"
        ]
    (place,) = find_places([half_done / "new"])
    assert (place.folder, place.sweeps()) == (half_done / "new", [])
