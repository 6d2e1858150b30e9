"""A sweep that places its later cells while it runs."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
from synthetic import Surface, write_cell
from workflows import Workflow, copy_of, tiny_config

from plm_scaling.config.load import validate_config
from plm_scaling.design.placing.stage import place_stage
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.stages import read_stages
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.shards import FORMAT

# Minima at 2,000 to 6,000 parameters.
SURFACE = Surface(E=2.0, A=10.0, alpha=0.45, B=200.0, beta=0.45)
PLACE = {"sizes": 4, "reach": 0.7, "max_seeds": 1}
STAGES = [{"from_flops": 8e10, **PLACE}, {"from_flops": 1.6e11, **PLACE}]

# What cells ask of the tokens; their shards are never read.
MANY = {"kept": {"shards": [{"rows": 10**9, "tokens": 10**11, "sha256": "1"}]}}
SOURCES = {name: {"kind": "protein", "strata": MANY} for name in ("uniref_demo", "metagenome_demo")}
PLENTY = {
    "format": FORMAT,
    "vocabulary_sha256": vocabulary.SHA256,
    "corpus": "tiny",
    "context_length": 128,
    "splits": {split: {"sources": SOURCES} for split in ("train", "valid")},
}


def with_stages(workflow, stages=STAGES):
    """Sizes from 200 to 20,000 parameters; the cheapest two budgets begin."""
    hidden = (4, 6, 8, 12, 16, 20, 24, 32, 40)
    shapes = {
        f"h{h}": {"layers": 1, "hidden": h, "ffn": 8 * h // 3, "heads": 1} for h in hidden
    }  # fmt: skip
    workflow.config["sweep"] |= {"shapes": shapes, "sizes": [*shapes], "stages": stages}
    workflow.config["sweep"]["tokens_per_parameter"] = [0.1, 1e6]
    workflow.config["sweep"] |= {"budgets_flops": [2e10, 4e10, 8e10, 1.6e11], "objectives": ["clm"]}
    return workflow


def cells_of(workflow, stages=None):
    config = validate_config(workflow.config, "config")
    placed = read_stages(workflow.results / "stages", config.sweep) if stages is None else stages
    return plan_cells(config, placed)


def train(workflow, cells):
    """Records as training leaves them, with losses of SURFACE."""
    for name, cell in cells.items():
        loss = SURFACE.loss(np.array(float(cell.n_params)), np.array(float(cell.tokens)))
        noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal()
        write_cell(workflow.results / "runs" / name, cell, loss * (1 + 1e-5 * noise), 3)


def record(workflow, number):
    return json.loads((workflow.results / f"stages/{number}.json").read_text())


@pytest.fixture
def pretended(root, tmp_path):
    """Every cell that any stage could have is trained, by SURFACE; tokens are older."""
    workflow = with_stages(Workflow(root, tmp_path, tiny_config(root, "resources/sources.tsv")))
    manifest = workflow.data / "tokens/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(PLENTY))
    whole = with_stages(Workflow(root, tmp_path, tiny_config(root, "resources/sources.tsv")), [])
    train(workflow, cells_of(whole, {}))
    return workflow


def test_one_run_places_every_stage_and_no_other_run_changes_one(pretended):
    """A single cell waits with the cells of its budget, whose learning rates it is to have."""
    single = {"objective": "clm", "corpus": "demo", "recipe": "study", "size": "h40"}
    tuning = {"sizes": ["h8"], "budgets_flops": [2e10]}
    pretended.config["sweep"] |= {"tuning": tuning, "extra": [single | {"flops": 1.6e11}]}
    train(pretended, cells_of(pretended))
    assert len(cells_of(pretended)) == 18 + 4
    pretended.run("train")
    second, third = record(pretended, 2), record(pretended, 3)
    assert second["budgets"][0]["law"]["status"]
    assert len(second["budgets"][0]["sizes"]) == len(third["budgets"][0]["sizes"]) == 4
    assert set(second["runs"]) < set(third["runs"])
    assert len(cells_of(pretended)) == 26 + 4 + 1
    (extra,) = json.loads((pretended.results / "forecasts.json").read_text())["extra"]
    assert cells_of(pretended)[extra].size == "h40"
    rows = (pretended.results / "sweep.tsv").read_text().splitlines()[1:]
    assert {row.split("\t")[0] for row in rows} == set(cells_of(pretended))
    assert json.loads((pretended.results / "estimates.json").read_text())["later"] == {}
    pretended.config["laws"]["level"] = 0.5
    assert "place_stage" not in pretended.planned("train", "--forceall")
    # As if it had been killed after a stage was placed: the same cells.
    (pretended.results / "stages/3.json").unlink()
    pretended.config["laws"]["level"] = 0.95
    pretended.run("train")
    assert record(pretended, 3) | {"placed": ""} == third | {"placed": ""}


def test_cells_of_a_stage_are_compared_with_the_data_when_it_is_placed(pretended):
    manifest = pretended.data / "tokens/manifest.json"
    before = manifest.stat().st_mtime_ns
    manifest.write_text(json.dumps(PLENTY).replace(str(10**9), "1000"))
    os.utime(manifest, ns=(before, before))
    done = pretended.run("train", check=False)
    assert done.returncode == 1
    (said,) = (line for line in done.stderr.splitlines() if "sweep.max_epochs: size h" in line)
    assert said.startswith("error: stage 2: ")
    assert "Traceback" not in done.stderr
    pretended.config["sweep"]["max_epochs"] = 1e9
    said = pretended.run("train").stderr
    assert (
        said.count("4 of 4 cells go through their scarcest source more than 4 times") == 1
    )  # of stage 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("machine", "options", "why"),
    [
        ({"layouts": {"h24": {"data": 7}}}, [], "size h24 cannot be divided as "),
        (
            {"backend": "cuda", "gpus_per_node": 2, "layouts": {"h24": {"data": 2}}},
            ["--resources", "gpu=1"],
            "is divided over 2 GPUs on 1 node, this machine has 1 for the study",
        ),
    ],
    ids=["layout", "box"],
)
def test_stage_that_no_machine_can_train_is_one_line(pretended, machine, options, why):
    """No cell of the first stage has the size that is divided so."""
    pretended.config["sweep"]["tokens_per_parameter"] = [200, 1e6]
    pretended.config["machine"] |= machine
    done = pretended.run("train", *options, check=False)
    assert done.returncode == 1
    (said,) = (line for line in done.stderr.splitlines() if why in line)
    assert said.startswith("error: stage 2: ")
    assert "Traceback" not in done.stderr
    assert "h24" in record(pretended, 2)["budgets"][0]["sizes"]


def test_next_stage_does_not_wait_for_a_cell_that_fails(pretended):
    first, *_ = cells_of(pretended)
    (pretended.results / f"runs/{first}/result.json").unlink()
    assert pretended.planned("next_stage") == {"plan_sweep": 1, "place_stage": 1}
    pretended.run("next_stage")
    assert set(record(pretended, 2)["without"]) == {first}
    assert not (pretended.results / "stages/3.json").exists()
    pretended.run("laws")  # of half a sweep
    assert not (pretended.results / "laws").exists()
    assert (pretended.results / "so-far/laws/clm.isoflop.json").exists()


EXTRA = {"objective": "clm", "corpus": "demo", "recipe": "study", "size": "h8", "flops": 6e10}


def test_next_stage_is_placed_in_the_run_that_writes_a_changed_sweep(pretended):
    pretended.run("plan")
    pretended.config["sweep"]["extra"] = [EXTRA]
    pretended.run("next_stage")
    assert (pretended.results / "stages/2.json").exists()


def test_cells_that_belong_to_no_stage_wait_for_none(pretended):
    pretended.config["sweep"]["extra"] = [EXTRA]
    assert pretended.planned("train")["train_cell"] == 1


def test_report_of_a_first_stage_without_budgets_has_the_figures_of_all_recipes(pretended):
    sweep = pretended.config["sweep"]
    sweep["tuning"] = {"sizes": ["h8"], "budgets_flops": [2e10]}
    sweep |= {"recipes": ["study", "prenorm"], "stages": [{"from_flops": 2e10, **PLACE}]}
    figure = f"results/{pretended.config['study']}/figures/recipes.svg"
    assert {cell.recipe for cell in cells_of(pretended).values()} == {"study"}
    assert pretended.planned(figure)["draw_figures"] == 1


def test_plan_tells_of_stages_to_come(pretended):
    said = pretended.run("plan").stdout
    assert "18 cells" in said
    assert "stage 2 (8e+10 FLOPs) is placed when the cells before have ended: 4 cells" in said


@pytest.mark.slow
def test_stages_are_trained_and_reported(finished, tmp_path):
    """With real training; the first stage's cells and those of 800M FLOPs are trained already."""
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["sweep"] |= {"budgets_flops": [4e8, 8e8, 1.2e9]}
    workflow.config["sweep"]["stages"] = [{"from_flops": 8e8, **PLACE}]
    workflow.run()
    assert len(record(workflow, 2)["runs"]) == 8
    cells = {path.parent.name for path in workflow.results.glob("runs/*/result.json")}
    assert cells == set(cells_of(workflow))
    assert len(cells) == 24
    assert "placed by the law of those before" in (workflow.results / "report.html").read_text()
    assert workflow.planned() == {}


def files_of(workflow):
    """The records of stages and runs, with their times."""
    found = [*workflow.results.glob("stages/*.json"), *workflow.results.glob("runs/*/result.json")]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def killed_when(workflow, moment):
    """Begin the workflow, and kill it with all that it started as soon as `moment()` is true."""
    command = [sys.executable, "-m", "snakemake", *workflow.words(["--quiet"])]
    with (workflow.folder / "killed.txt").open("w") as output:
        process = subprocess.Popen(
            command, cwd=workflow.folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        while not moment():
            assert process.poll() is None, (workflow.folder / "killed.txt").read_text()
            time.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.long
def test_stages_are_the_same_though_snakemake_is_killed_among_them(finished, tmp_path):
    """With real training; the first stage's cells and those of 800M FLOPs are trained already, and
    tables of a plain sweep of them are there."""
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["sweep"] |= {"budgets_flops": [4e8, 8e8, 1.2e9]}
    workflow.config["sweep"]["stages"] = [{"from_flops": flops, **PLACE} for flops in (8e8, 1.2e9)]
    before = files_of(workflow)
    killed_when(workflow, lambda: len(files_of(workflow)) > len(before) + 2)  # a cell of stage 3
    kept, planned = files_of(workflow), cells_of(workflow)
    workflow.run("--unlock")
    workflow.run("--rerun-incomplete")
    after = files_of(workflow)
    for path, known in kept.items():  # no stage and no cell twice
        if path in before or path.parent.name == "stages":
            assert after[path] == known
        else:  # Snakemake was perhaps killed before it knew that the cell had ended
            ends = [json.loads(text)["loss"] for _, text in (after[path], known)]
            assert ends[0] == ends[1]
    assert [len(record(workflow, stage)["runs"]) for stage in (2, 3)] == [8, 16]
    cells = {path.parent.name for path in workflow.results.glob("runs/*/result.json")}
    assert cells == set(cells_of(workflow)) == set(planned)
    assert len(cells) == 24
    config = validate_config(workflow.config, "config")
    sweep, runs = tmp_path / "sweep.tsv", workflow.results / "runs"
    for stage in (2, 3):  # each follows from the config and what had ended before it
        anew = tmp_path / f"stages/{stage}.json"
        place_stage(config, config.laws, config.runs.final_evaluations, runs, sweep, anew)
        placed = json.loads(anew.read_text())
        assert placed | {"placed": ""} == record(workflow, stage) | {"placed": ""}
    assert workflow.planned() == {}
