"""Recipes of images hold what the workflow needs, in the locked versions, and jobs run in them."""

import os
import re
import tomllib

import pytest


def copied(text, pattern):
    """What a recipe copies from the repository."""
    return {name for line in re.findall(pattern, text, re.MULTILINE) for name in line.split()}


@pytest.fixture
def recipes(root):
    return [(root / "containers" / name).read_text() for name in ("Dockerfile", "plm-scaling.def")]


def test_recipes_copy_the_same_files_all_of_which_exist(root, recipes):
    docker = copied(recipes[0], r"^COPY (.*) \S+$")
    apptainer = copied(recipes[1], r"^ +(\S+) /opt/plm-scaling/\S+$")
    assert docker == apptainer
    assert all((root / name).exists() for name in docker)
    sent = (root / "containers/Dockerfile.dockerignore").read_text()
    assert docker == {line[1:] for line in sent.splitlines() if line.startswith("!")}
    workflow = copied((root / "Snakefile").read_text(), r'^include: "([a-z]+)/')
    assert {"Snakefile", "config.yaml", "requirements.lock", "scripts", "src"} | workflow <= docker


def test_recipes_install_what_is_locked_on_the_python_that_is_needed(root, recipes):
    needed = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    for recipe in recipes:
        (python,) = re.findall(r"^F(?:ROM|rom:) python:(\d+\.\d+)-", recipe, re.MULTILINE)
        assert f">={python}," in needed
        assert "--requirement requirements.lock" in recipe
        assert "grep '^torch==' requirements.lock > torch.txt" in recipe
        assert not re.search(r"pip install[^\n]*==", recipe)


def test_programs_of_the_rules_run_in_the_image(root, fresh, tmp_path, monkeypatch):
    """A stand-in for Apptainer writes down what it is given and runs the command."""
    commands = tmp_path / "commands"
    commands.mkdir()
    given = tmp_path / "given"
    (commands / "apptainer").write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "apptainer version 1.3.0"; exit; fi\n'
        f'echo "$@" >> {given}\n'
        'until [ "$2" = -c ]; do shift; done\n'
        'exec "$@"\n'
    )
    (commands / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    fresh.run("plan", "--sdm", "apptainer", "--apptainer-args=--nv")
    (command,) = [line for line in given.read_text().splitlines() if "plan_sweep.py" in line]
    assert re.search(rf" --nv .* {root}/containers/plm-scaling\.sif \S*bash -c ", command)
