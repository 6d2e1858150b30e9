"""After a change exactly what depends on it runs again. Dry runs of the finished pipeline."""

import hashlib
import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from workflows import SEQUENCES, Workflow, checkout, copy_of, raised, take, write_sources

from plm_scaling.config.load import validate_config
from plm_scaling.sources.table import read_sources
from plm_scaling.sweep.cells import plan_cells

pytestmark = pytest.mark.slow

# Jobs by rule, from the end: each stage with all that follows it.
REPORT = {"make_report": 1}
FITS = {"fit_law": 4, "draw_figures": 1, **REPORT}
TABLES = {"collect_runs": 1, "collect_forecasts": 1, **FITS}
TRAINING = {"train_cell": 16, **TABLES}
TOKENS = {"tokenize_part": 2, "merge_tokens": 1, **TRAINING}
SELECTION = {"select_sequences": 1, "draw_data_figures": 1, **TOKENS}
SCORES = {"train_reference": 1, "score_part": 2, **SELECTION}
SPLIT = {"split_clusters": 1, "check_contamination": 1, **SCORES}
DEDUP = {"deduplicate": 1, **SPLIT}
POOL = {"pool_part": 2, **DEDUP}
CLEAN = {"clean_source": 2, **POOL}
CONFIG = {"record_config": 1}  # a change of the config is in the report
SWEEP = {"plan_sweep": 1, **CONFIG}  # one of the sweep's blocks is in its table too

STAGES = {
    "sources": CLEAN,
    "dedup": POOL,
    "filter": SCORES,
    "tokens": TOKENS,
    "train": TRAINING,
    "runs": TABLES,
    "laws": FITS,
    "forecasts": {"collect_forecasts": 1, "draw_figures": 1, **REPORT},
    "figures": {"draw_figures": 1, "draw_data_figures": 1, **REPORT},
    "report": REPORT,
}


@pytest.fixture
def changed(finished, tmp_path):
    """A copy of the finished pipeline that may be changed."""
    return copy_of(finished, tmp_path / "copy")


def test_rerun_of_an_unchanged_pipeline_is_nothing(finished):
    assert finished.planned() == {}


def test_perplexity_threshold_selects_again_and_scores_nothing(changed):
    changed.config["filter"]["perplexity_quantiles"] = [0.05, 0.95]
    assert changed.planned() == {**SELECTION, **CONFIG}


@pytest.mark.parametrize("criteria", [(0.8, 0.8), (0.8, 0.9)], ids=["identity", "swapped"])
def test_dedup_identity_deduplicates_again_and_pools_nothing(changed, criteria):
    """Also when identity and coverage (0.9 and 0.8) change places."""
    changed.config["dedup"] = dict(zip(("min_seq_id", "coverage"), criteria, strict=True))
    assert changed.planned() == {**DEDUP, **CONFIG}


def test_swapped_fractions_of_the_split_split_again(changed):
    split = changed.config["split"]
    names = ("valid_fraction", "reference_fraction")
    split |= dict(zip(names, (split[name] for name in reversed(names)), strict=True))
    assert changed.planned() == {**SPLIT, **CONFIG}


def test_new_file_of_a_source_is_verified_and_cleans_only_it(root, changed):
    files = {
        name: Path(row.path)
        for name, row in read_sources(Path(changed.config["data"]["sources"])).items()
    }
    files["uniref_demo"] = changed.folder / "newer.fasta.gz"
    demo = root / "resources/demo/uniref_demo.fasta.gz"
    take(demo, SEQUENCES, files["uniref_demo"], skip=SEQUENCES)
    changed.config["data"]["sources"] = str(write_sources(changed.folder, files))
    planned, output = changed.plan()
    assert planned == {"verify_files": 1, **CLEAN, "clean_source": 1, **CONFIG}
    assert "clean/uniref_demo." in output
    assert "clean/metagenome_demo/part" not in output


def test_start_token_tokenizes_and_trains_again(changed):
    changed.config["tokens"]["start_token"] = True
    assert changed.planned() == {**TOKENS, **SWEEP}
    changed.run(f"data/{changed.config['data']['name']}/tokens/manifest.json")
    manifest = json.loads((changed.data / "tokens/manifest.json").read_text())
    assert manifest["start_token"]


def test_learning_rate_of_one_size_and_objective_trains_only_its_cells(changed):
    before = plan_cells(validate_config(changed.config, "before"))
    rates = changed.config["training"]["peak_learning_rate"]["clm"]
    largest = max(cell.n_params for cell in before.values())
    rates.append({"from_parameters": largest, "value": 5e-3})
    planned, output = changed.plan()
    assert planned == {**TABLES, "train_cell": 2, **SWEEP}
    after = plan_cells(validate_config(changed.config, "after"))
    new = {name: cell for name, cell in after.items() if name not in before}
    assert {(cell.objective, cell.size) for cell in new.values()} == {("clm", "d")}
    assert all(f"results/tiny/runs/{cell}/result.json" in output for cell in new)


def test_new_size_trains_only_its_cells(changed):
    changed.config["sweep"]["shapes"]["e"] = {"layers": 1, "hidden": 20, "ffn": 53, "heads": 1}
    changed.config["sweep"]["sizes"].append("e")
    assert changed.planned() == {**TABLES, "train_cell": 4, **SWEEP}


def test_corpus_with_near_duplicates_does_not_change_finished_cells_and_held_out_rows(changed):
    """What is held out does not depend on the corpora that are swept."""
    finished = {p: p.stat().st_mtime_ns for p in changed.results.glob("runs/*/result.json")}
    changed.config["corpora"]["all"] = changed.config["corpora"]["demo"] | {"dedup": False}
    changed.config["sweep"]["corpora"].append("all")
    assert changed.planned() == {**TABLES, "train_cell": 16, **SWEEP}
    cells = plan_cells(validate_config(changed.config, "after"))
    clm = [(name, cell.corpus) for name, cell in cells.items() if cell.objective == "clm"]
    old, new = (next(n for n, corpus in clm if corpus == wanted) for wanted in ("demo", "all"))
    changed.run(f"results/tiny/runs/{new}/result.json")
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    held_out = [
        json.loads((changed.results / f"runs/{cell}/result.json").read_text())["held_out_tokens"]
        for cell in (old, new)
    ]
    assert held_out[0] == held_out[1]


def test_new_law_setting_refits_and_trains_nothing(changed):
    changed.config["laws"]["bootstrap"] = 120
    assert changed.planned() == {**FITS, **CONFIG}


def test_settings_that_change_no_result_re_run_nothing(changed):
    changed.config["training"] |= {
        "checkpoint_seconds": 1000,
        "start_minutes": 5,
        "tensorboard": True,
        "step_log_rows": 9,
    }
    changed.config["machine"] |= {"threads": 2, "cpu_gflops": 9}
    changed.config["sweep"]["max_epochs"] = 1e9
    assert changed.planned() == {}


@pytest.mark.parametrize("stage", STAGES)
def test_raised_stage_version_re_runs_its_stage_and_what_follows(finished, tmp_path, stage):
    """The library of a stage is no input of its rules; its version stands for it."""
    assert raised(finished, stage, tmp_path / "repository").planned() == STAGES[stage]


def test_every_stage_with_a_version_is_tested(root):
    packages = (root / "src/plm_scaling").glob("*/__init__.py")
    versioned = {p.parent.name for p in packages if "\nSTAGE_VERSION = " in p.read_text()}
    assert versioned == {*STAGES, "downstream"}  # the latter in test_downstream_workflow.py


def files_of(folder: Path) -> list[Path]:
    """The data, results and logs of a working folder."""
    return [
        path
        for name in ("data", "results", "logs")
        for path in sorted((folder / name).rglob("*"))
        if path.is_file()
    ]


def test_touched_files_re_run_nothing(changed, tmp_path):
    """Neither results nor the program's own files: what is in them counts."""
    root = checkout(changed.root, tmp_path / "repository")
    for path in files_of(changed.folder):
        path.touch()
    assert Workflow(root, changed.folder, changed.config).planned() == {}


def clone_with_results(finished, folder):
    """A fresh clone elsewhere that is given data, results, logs and Snakemake's records."""
    root = checkout(finished.root, folder)
    table = Path(finished.config["data"]["sources"])
    shutil.copyfile(table, root / "resources" / "tiny.tsv")
    clone = copy_of(Workflow(root, finished.folder, finished.config), folder)
    clone.config["data"]["sources"] = "resources/tiny.tsv"
    return clone


def mix_times(folder):
    """New times of modification, in any order."""
    now, draw = time.time(), random.Random(1)
    for path in files_of(folder):
        os.utime(path, times=(now - draw.randrange(10**6),) * 2)


def test_clone_with_metadata_re_runs_nothing_for_any_file_times(finished, tmp_path):
    clone = clone_with_results(finished, tmp_path / "clone")
    mix_times(clone.folder)
    clone.config = finished.config  # with the source table elsewhere, as it was recorded
    assert clone.planned() == {}


def test_clone_with_file_times_re_runs_nothing_without_metadata(finished, tmp_path):
    clone = clone_with_results(finished, tmp_path / "clone")
    shutil.rmtree(clone.folder / ".snakemake")
    assert clone.planned() == {}


def test_clone_without_metadata_and_file_times_needs_a_touch(finished, tmp_path):
    """Snakemake cannot know then; --touch says that all is as the config wants it."""
    clone = clone_with_results(finished, tmp_path / "clone")
    shutil.rmtree(clone.folder / ".snakemake")
    mix_times(clone.folder)
    assert clone.planned() != {}
    before = digests(clone.folder)
    clone.run("--touch", "--forceall")
    assert clone.planned() == {}
    assert digests(clone.folder) == before
    clone.config["filter"]["perplexity_quantiles"] = [0.05, 0.95]
    assert clone.planned() == {**SELECTION, **CONFIG}  # it made the records too


def digests(folder):
    """Content of each file of data and results."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_of(folder)
        if "logs" not in path.parts
    }


@pytest.mark.parametrize(
    ("missing", "collected"), [(0, "collect_runs"), (1, "collect_finished_runs")]
)
def test_laws_of_a_runs_folder_without_data_never_train(finished, fresh, missing, collected):
    """No data, no checkpoints, no records; the last cells may be missing."""
    runs = fresh.results / "runs"
    shutil.copytree(finished.results / "runs", runs, ignore=shutil.ignore_patterns("checkpoints*"))
    for cell in sorted(runs.iterdir())[:missing]:
        shutil.rmtree(cell)
    laws = {"plan_sweep": 1, collected: 1, "collect_forecasts": 1, "fit_law": 4, "draw_figures": 1}
    assert fresh.planned("laws") == laws


def test_laws_with_outdated_data_never_train(changed):
    laws = {"collect_forecasts": 1, "fit_law": 4, "draw_figures": 1}
    changed.config["filter"]["perplexity_quantiles"] = [0.05, 0.95]
    rewrite(changed.data / "tokens/manifest.json")
    assert changed.planned()["train_cell"] == 16
    assert changed.planned("laws") == {}
    assert "train_cell" not in changed.planned("laws", "plan")
    assert changed.planned("laws", "train")["train_cell"] == 16
    cells = sorted((changed.results / "runs").iterdir())
    rewrite(cells[0] / "result.json")
    assert changed.planned("laws") == {"collect_runs": 1, **laws}
    shutil.rmtree(cells[1])
    assert changed.planned("laws") == {"collect_finished_runs": 1, **laws}


def rewrite(path):
    """Newer, with other characters that mean the same."""
    path.write_text(path.read_text() + "\n")
