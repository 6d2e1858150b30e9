"""The command line of Snakemake that `plm-scaling run` starts."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from plm_scaling.common.errors import ConfigError
from plm_scaling.workflow import command
from plm_scaling.workflow.command import place, process_of, snakemake_command
from plm_scaling.workflow.given import Place


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.yaml").touch()
    return folder.relative_to(tmp_path)


def options(words):
    return dict(pairwise(words))


def test_folder_holds_config_data_and_results(study, root):
    words = snakemake_command(study, (), None, "local", dry=False)
    given = options(words)
    assert given["--configfile"] == "mine/config.yaml"
    assert given["--directory"] == "mine"
    assert given["--snakefile"] == str(root / "Snakefile")
    assert given["--profile"] == str(root / "profiles/local")
    assert "--dry-run" not in words


def test_results_of_a_config_file_go_where_one_is(study):
    words = snakemake_command(study / "config.yaml", (), None, "local", dry=True)
    assert options(words)["--configfile"] == "mine/config.yaml"
    assert "--directory" not in words
    assert "--dry-run" in words


def test_targets_come_first_and_options_of_snakemake_last(study):
    words = ("data", "report", "--cores", "3", "--config", "seed=2")
    words = snakemake_command(study, words, None, "box", dry=False)
    assert words[1:3] == ["data", "report"]  # --configfile would take them
    assert words[-4:] == ["--cores", "3", "--config", "seed=2"]


def test_profile_of_ones_own_is_given_by_its_folder(study):
    (study / "site").mkdir()
    (study / "site/config.yaml").touch()
    words = snakemake_command(study, (), None, "mine/site", dry=False)
    assert options(words)["--profile"] == "mine/site"


@pytest.mark.parametrize(
    ("profile", "words", "here"),
    [
        *((name, (), True) for name in ("box", "demo", "{root}/box", "empty")),
        *((name, (), False) for name in ("slurm", "lsf", "{root}/slurm")),
        ("slurm", ("train", "--executor", "local"), True),
        ("slurm", ("--profile", "empty"), True),
        ("slurm", ("-n", "--profile", "nowhere", "empty"), True),
        ("local", ("--profile", "known-to-snakemake-alone"), False),
        ("local", ("train", "-e", "plm-slurm"), False),
        ("local", ("--executor=slurm", "--jobs", "3"), False),
    ],
)
def test_jobs_run_here_unless_the_profile_or_an_option_has_an_executor(
    study, root, profile, words, here, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    named = tmp_path / "snakemake/known-to-snakemake-alone/config.v8+.yaml"
    named.parent.mkdir(parents=True)
    named.write_text("executor: slurm\n")
    Path("empty").mkdir()
    Path("empty/config.yaml").write_text("# all as Snakemake has it\n")
    assert place(None, profile.format(root=root / "profiles"), words).here is here


@pytest.mark.parametrize(
    ("options", "words", "cores", "gpus", "jobs"),
    [
        ("{cores: all}", (), 8, None, None),
        ("{cores: all}", ("--cores",), 8, None, None),
        ("{cores: 4, resources: [gpu=3, mem_mb=9]}", (), 4, 3, None),
        ("{cores: 4, resources: gpu=2}", (), 4, 2, None),
        ("{cores: 4, resources: {gpu: 3}}", ("data", "-c2", "--resources", "gpu=2"), 2, 2, None),
        ("{jobs: 200}", ("--cores=64", "-j", "5"), 8, None, 5),
        ("{jobs: unlimited}", ("--config", "seed=1", "-p", "--cores", "all"), 8, None, None),
    ],
)
def test_options_say_on_how_much_a_run_is(study, monkeypatch, options, words, cores, gpus, jobs):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8))
    Path("own").mkdir()
    Path("own/config.yaml").write_text(options)
    assert place(None, "own", words) == Place(True, cores, jobs, gpus)


@pytest.mark.parametrize(
    ("study", "profile", "said"),
    [
        ("nowhere", "local", "nowhere does not exist"),
        (".", "local", "plm-scaling init"),
        ("mine", "slrum", "slurm"),
    ],
)
def test_what_is_missing_is_named(study, profile, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.yaml").touch()
    with pytest.raises(ConfigError, match=said):
        snakemake_command(tmp_path.joinpath(study).relative_to(tmp_path), (), None, profile, False)


def test_installation_without_a_snakefile_takes_a_clone(study, root, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "CLONE", tmp_path)
    with pytest.raises(ConfigError, match="--workflow"):
        snakemake_command(study, (), None, "local", dry=False)
    words = snakemake_command(study, (), root, "local", dry=False)
    assert options(words)["--snakefile"] == str(root / "Snakefile")


def test_what_snakemake_says_of_its_use_has_its_own_name():
    done = subprocess.run(process_of(["snakemake", "--nosuch"]), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("snakemake: error: ")
