"""What `plm-scaling init` writes is a config that the workflow plans."""

import gzip

import pytest
from forked_snakemake import snakemake

from plm_scaling.cli.init import init
from plm_scaling.config.load import read_config


@pytest.mark.parametrize("gpus", ["2xCPU", "8xA100"])
def test_workflow_plans_the_config_as_it_is(root, tmp_path, monkeypatch, gpus):
    monkeypatch.chdir(tmp_path)
    with gzip.open(root / "resources/demo/uniref_demo.fasta.gz", "rt") as all_of_them:
        records = all_of_them.read().split("\n>")[:3000]
    (tmp_path / "my.fasta").write_text("\n>".join(records) + "\n")
    init(tmp_path / "mine", fasta=[tmp_path / "my.fasta"], gpus=gpus, hours=0.3, objective=["clm"])
    how = ["--snakefile", str(root / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]
    code, said, wrong = snakemake(["plan", *how], tmp_path / "mine")
    assert code == 0, said + wrong
    cells = sum(len(one.sizes) for one in read_config(tmp_path / "mine/config.yaml").sweep.designed)
    assert f"{cells} cells, " in said
    assert "stage 2 (" in said
    assert "stage 3 (" in said
