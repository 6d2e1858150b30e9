"""What a study still takes, before it runs."""

import re
from dataclasses import replace

import pytest
from workflows import tiny_config

from plm_scaling.common.progress import short_bytes
from plm_scaling.config.load import FULL_STUDY, read_config, validate_config
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.workflow import outlook
from plm_scaling.workflow.given import Place
from plm_scaling.workflow.outlook import outlook as lines_of

HERE = Place(here=True, cores=2)


@pytest.fixture
def tiny(root, tmp_path):
    """The config of a study of 16 cells whose sources are files of its own."""
    config = tiny_config(root, tmp_path)
    names = ("uniref_demo", "metagenome_demo")
    config["data"]["sources"] = {name: {"path": f"{name}.fasta"} for name in names}
    for name in names:
        (tmp_path / f"{name}.fasta").write_bytes(bytes(1_000_000))
    return validate_config(config, "tiny")


def beginning(lines, start):
    (line,) = (line for line in lines if line.startswith(start))
    return line


def test_cells_that_have_ended_are_not_counted(tiny, tmp_path):
    cell = next(iter(plan_cells(tiny)))
    run = tmp_path / "results/tiny/runs" / cell
    assert "16 of 16 cells left" in beginning(lines_of(tiny, tmp_path, HERE), "training")
    run.mkdir(parents=True)
    (run / "result.json").touch()
    assert "15 of 16 cells left" in beginning(lines_of(tiny, tmp_path, HERE), "training")


def test_data_of_own_files_are_estimated_until_there_are_tokens(tiny, tmp_path):
    assert "about 1.48M residues" in beginning(lines_of(tiny, tmp_path, HERE), "data")
    manifest = tmp_path / "data/tiny/tokens/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    said = [*lines_of(tiny, tmp_path, HERE)]
    assert not [line for line in said if line.startswith("data")]
    assert "for data" not in beginning(said, "disk")


def test_nothing_is_said_of_a_study_that_has_all(tiny, tmp_path):
    (tmp_path / "data/tiny/tokens").mkdir(parents=True)
    (tmp_path / "data/tiny/tokens/manifest.json").touch()
    for cell in plan_cells(tiny):
        (tmp_path / "results/tiny/runs" / cell).mkdir(parents=True)
        (tmp_path / "results/tiny/runs" / cell / "result.json").touch()
    assert [*lines_of(tiny, tmp_path, HERE)] == []


@pytest.mark.parametrize(
    ("found", "place", "counted"),
    [
        (0, HERE, 16),
        (32, HERE, 32),
        (32, replace(HERE, gpus=16), 16),
        (32, replace(HERE, here=False, gpus=32), 16),
    ],
)
def test_hours_are_those_on_the_gpus_of_this_machine_if_it_has_any(
    found, place, counted, tmp_path, monkeypatch
):
    monkeypatch.setattr(outlook, "visible_gpus", lambda: ["GPU"] * found)
    config = read_config(FULL_STUDY)
    machine = config.machine.model_copy(update={"max_gpus": 16})
    config = config.model_copy(update={"machine": machine})
    line = beginning(lines_of(config, tmp_path, place), "training")
    hours, days, count = re.search(
        r"([\d.]+)k H100-hours, about ([\d.]+) days on (\d+) H100", line
    ).groups()
    assert int(count) == counted
    assert float(days) * 24 * counted == pytest.approx(float(hours) * 1000, rel=0.25)


@pytest.mark.parametrize(
    ("place", "on"),
    [
        (HERE, "on 2 cores"),
        (replace(HERE, cores=1), "on 1 core"),
        (replace(HERE, here=False), "on 16 cores, if the scheduler gives them"),
        (replace(HERE, here=False, jobs=4), "on 4 cores, if the scheduler gives them"),
    ],
)
def test_cells_on_cores_have_those_of_the_run_or_one_each_from_a_scheduler(
    tiny, tmp_path, place, on
):
    training = beginning(lines_of(tiny, tmp_path, place), "training")
    assert training.endswith(on)
    data = beginning(lines_of(tiny, tmp_path, place), "data")
    assert (f" on {place.cores} core" in data) is place.here
    assert "core-hours, about" in training


def test_checkpoints_take_as_much_disk_on_however_many_gpus(tmp_path):
    """12 bytes per parameter of the full study, whose largest models are divided over GPUs."""
    full = read_config(FULL_STUDY)
    parameters = sum(cell.n_params_total for cell in plan_cells(full).values())
    disk = beginning(lines_of(full, tmp_path, HERE), "disk")
    assert f"about {short_bytes(12 * parameters)} for checkpoints" in disk
