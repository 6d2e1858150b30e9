"""The last lines of `make demo`, and what it runs."""

import copy
import re
import shutil
from pathlib import Path

import pytest
import synthetic
import yaml

from plm_scaling.common.counts import Counts
from plm_scaling.config.load import read_config, record_config
from plm_scaling.laws.result import read_law
from plm_scaling.laws.status import Status
from plm_scaling.report import demo
from plm_scaling.runs.collect import collect_runs
from plm_scaling.runs.rule_stages import STAGE_OF
from plm_scaling.study.sweep_table import read_sweep
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.workflow.known_times import read_known

WIDE = 110


@pytest.fixture(scope="module")
def results(tmp_path_factory, root):
    """The results folders of a finished demo: runs of its own, and the laws that ship."""
    folder = tmp_path_factory.mktemp("demo")
    own, published = folder / "results/demo", folder / "results/published"
    synthetic.write_study(own, n_sizes=4)
    tables = [own / name for name in ("runs.csv", "curves.parquet", "evaluations.csv")]
    collect_runs(own / "sweep.tsv", own / "runs", 1, *tables)
    record_config(read_config(root / "config/demo.yaml"), own / "config.yaml")
    sequences_of = {"uniref_demo": 9018, "metagenome_demo": 6566, "of_an_earlier_config": 1000}
    for source, sequences in sequences_of.items():
        counts = Counts("clean")
        counts.add(source, "in", sequences, 100)
        counts.add(source, "kept", sequences - 1, 99)
        counts.add(source, "invalid", 1, 1)
        counts.write(folder / f"data/demo/clean/{source}/counts.tsv")
    shutil.copytree(root / "resources/published/laws", published / "laws")
    return own, published


def test_five_short_lines_with_the_interval_of_the_real_law_and_both_pages(results, root):
    own, published = results
    lines = demo.last_lines(own, published, 283.2)
    assert len(lines) == 5
    assert max(map(len, lines[:3])) <= WIDE
    sizes = [cell.n_params for cell in read_sweep(own / "sweep.tsv").values()]
    assert "15,584 proteins" in lines[0]
    assert f"{len(sizes)} models of {min(sizes):,} to {max(sizes):,} parameters" in lines[0]
    assert "this run took 4:43" in lines[0]
    law = read_law(root / "resources/published/laws/clm.isoflop.json").equations["N"]
    low, high = law.interval["a"]
    said = re.search(r"×(\S+) \(95 % (\S+) to (\S+)\) CLM", lines[1]).groups()
    truth = [10**exponent for exponent in (law.parameters["a"], low, high)]
    assert [float(number) for number in said] == pytest.approx(truth, abs=0.06)
    assert lines[1].endswith(" MLM; exponents not identified")
    assert "plan --objective" in lines[2]
    assert "init" in lines[2]
    for line, page in zip(lines[3:], results, strict=True):
        assert line.split()[-1] == f"file://{page}/report.html"


def test_law_without_an_interval_is_not_said_as_a_number(results, root, monkeypatch):
    law = read_law(root / "resources/published/laws/mlm.isoflop.json")
    law.equations["N"].interval["a"] = None
    monkeypatch.setattr(demo, "read_law", lambda path: law)
    assert "size unknown MLM, unknown MLM;" in demo.last_lines(*results, 1.0)[1]


def test_status_is_said_unless_the_runs_determine_both_laws(results, root, monkeypatch):
    law = read_law(root / "resources/published/laws/clm.isoflop.json")
    known = {"clm": Status.CONVERGED, "mlm": Status.CONVERGED}

    def read(path):
        own = copy.copy(law)
        own.status = known[path.name.split(".")[0]]
        return own

    monkeypatch.setattr(demo, "read_law", read)
    assert demo.last_lines(*results, 1.0)[1].endswith(" CLM")
    known["mlm"] = Status.AT_BOUND
    assert demo.last_lines(*results, 1.0)[1].endswith("; exponents converged, at bound")


def test_command_is_said_so_that_it_can_be_typed(results, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(demo.sys, "executable", str(Path.cwd() / ".venv/bin/python"))
    assert demo.last_lines(*results, 1.0)[2].startswith("next: .venv/bin/plm-scaling plan")
    (tmp_path / "plm-scaling").touch(mode=0o755)
    assert demo.last_lines(*results, 1.0)[2].startswith("next: plm-scaling plan")


def test_demo_is_few_cells_of_three_budgets_of_which_the_last_is_placed(root):
    config = read_config(root / "config/demo.yaml")
    cells = plan_cells(config).values()
    (stage,) = config.sweep.stages
    assert len(cells) == 18
    known = read_known(root / "profiles/demo/times.tsv")
    assert set(known) <= set(STAGE_OF)
    assert known["place_stage"].places == stage.sizes * len(config.sweep.objectives)
    assert known["train_cell"].jobs == len(cells) + known["place_stage"].places == 26
    assert {cell.objective for cell in cells} == {"clm", "mlm"}
    assert config.sweep.budgets_flops == [
        *sorted({c.flops_budget for c in cells}),
        stage.from_flops,
    ]


def test_demo_asks_for_both_parts_and_names_them(root):
    """What it prints first names stages as their lines do."""
    rule = re.search(r"^demo:.*?\n\n", (root / "Makefile").read_text(), re.M | re.S).group()
    (named,) = re.findall(r"^\t@echo .*?(\[.*)\n\t@began", rule, re.M | re.S)
    assert re.findall(r"\[(\w+)\]", named) == ["sources", "report", "published"]
    assert "data train " in rule
    assert "downstream report published " in rule
    assert yaml.safe_load((root / "profiles/demo/config.yaml").read_text())["logger"] == "plm"
