"""A wheel built from the tree works on its own: without the repository, from any folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
UNWANTED = shutil.ignore_patterns("__pycache__", "*.egg-info")
# neither the repository nor an index is within reach
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
PIP = [sys.executable, "-m", "pip", "--no-input", "--quiet"]
SDIST = "from setuptools.build_meta import build_sdist; build_sdist('dist')"

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    """The output of a command; a failure shows it."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(source: Path, out: Path) -> Path:
    """The wheel of a tree or a source archive, built offline by the setuptools of this Python."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out)
    run(*PIP, "wheel", *options, source, cwd=source.parent)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of what packaging reads, as a clone has it: links stay links."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    for name in ("src", "resources/published", "resources/downstream"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=UNWANTED)
    for name in (
        *("pyproject.toml", "README.md", "LICENSE", "config.yaml"),
        *("resources/downstream.tsv", "docs/glossary.md"),
    ):
        (tree / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def wheel(tree) -> Path:
    return wheel_of(tree, tree.parent / "wheel")


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """The bin folder of a new environment with the wheel, and with this one's other packages."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    python = folder / "bin/python"
    run(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    imported = run(python, "-c", "import plm_scaling as p; print(p.__file__)", cwd=folder)
    assert Path(imported.strip()).is_relative_to(packages)
    return python.parent


def test_wheel_contains_every_file_of_the_package(tree, wheel):
    source = ROOT / "src"
    expected = {
        str(Path(folder, name).relative_to(source))
        for folder, _, names in os.walk(source, followlinks=True)
        for name in names
        if "__pycache__" not in folder and ".egg-info" not in folder
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected
    assert "plm_scaling/published/laws/clm.isoflop.json" in names  # through the link


@pytest.mark.long  # who installs takes a wheel, or the tree
def test_wheel_of_the_source_archive_is_the_same(tree, wheel):
    run(sys.executable, "-c", SDIST, cwd=tree)
    (archive,) = tree.glob("dist/*.tar.gz")
    rebuilt = wheel_of(archive, tree.parent / "rebuilt")
    assert zipfile.ZipFile(rebuilt).namelist() == zipfile.ZipFile(wheel).namelist()


def test_metadata_names_licence_and_authors_as_the_citation_does(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = archive.read(name).decode()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (author,) = citation["authors"]
    for line in (
        f"Version: {citation['version']}",
        f"License-Expression: {citation['license']}",
        f"Author: {author['name']}",
    ):
        assert f"\n{line}\n" in metadata
    assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())


def test_installed_wheel_plans_from_another_folder(environment, tmp_path):
    command = ("plan", "--flops", "1e21", "--objective", "clm")
    plan = run(environment / "plm-scaling", *command, cwd=tmp_path)
    assert "by the isoflop law of the published study" in plan
    assert "1.5B" in plan  # a shape, for which the config of the full study is read


def test_installed_wheel_fits_a_table_from_another_folder(environment, tmp_path):
    sizes = [10 ** (6 + i / 3) for i in range(6)]
    budgets = (1e18, 1e19, 1e20)
    rows = [
        f"{n:.0f},{c / (6 * n):.0f},{1.5 + 400 / n**0.34 + 410 / (c / (6 * n)) ** 0.28}"
        for c in budgets
        for n in sizes
    ]
    (tmp_path / "runs.csv").write_text("\n".join(["n_params,tokens,loss", *rows]))
    command = "fit parametric --runs runs.csv --bootstrap 0 --out law.json"
    run(environment / "plm-scaling", *command.split(), cwd=tmp_path)
    law = json.loads((tmp_path / "law.json").read_text())
    assert law["equations"]["L"]["alpha"] == pytest.approx(0.34, abs=0.001)
    command = "plan --flops 1e19 --laws law.json"
    plan = run(environment / "plm-scaling", *command.split(), cwd=tmp_path)
    assert "by the parametric law of law.json" in plan
