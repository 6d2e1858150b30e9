"""What a check of a site says; its jobs run here, where a pretended sbatch starts them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pretended_slurm import PARTITION, pretended_slurm, small_site
from snakemake.profiles import ProfileConfigFileParser

from plm_scaling.cli.main import main
from plm_scaling.common.errors import SlurmError
from plm_scaling.slurm import check_site as module
from plm_scaling.slurm.ask import site_limits
from plm_scaling.slurm.check_site import check_site
from plm_scaling.slurm.check_site_text import profile_text, site_text
from plm_scaling.slurm.probe import file_system

# Runs the script (its last word), with its output where --output says.
SBATCH = """\
#!/bin/sh
echo "$*" >> {folder}/sbatch.calls
for word; do case $word in --output=*) log=${{word#--output=}};; esac; done
case "$*" in *--partition=closed*) echo "sbatch: error: Access denied" >&2; exit 1;; esac
{environment} sh "$word" > "$log" 2>&1
echo 17
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A function that prepares a site of these answers; jobs have this environment."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.chdir(tmp_path)

    def prepared(answers, environment=""):
        folder = pretended_slurm(tmp_path / "slurm", answers)
        sbatch = folder / "sbatch"
        sbatch.write_text(SBATCH.format(folder=folder, environment=environment))
        sbatch.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin")
        site_limits.cache_clear()
        return folder

    yield prepared
    site_limits.cache_clear()


def two_partitions(gpus=0):
    """Nodes of `main` have so many GPUs; of `closed` Slurm takes no jobs."""
    answers = {
        "sinfo --noheader --Node": "n1.invalid|gpu:h100:4\nn2.invalid|(null)\n"
    } | small_site()
    answers["squeue "] = ""
    answers["sinfo "] = answers["sinfo "].replace("gpu:fake:4", f"gpu:fake:{gpus}")
    answers["sinfo "] += "closed|4|x[1-4]|64000|32|(null)|(null)\n"
    answers["scontrol show node n1,x1"] = answers.pop("scontrol show node n1 ")
    row = PARTITION.format(name="closed", default="NO", qos="N/A", nodes="2", time="7-00:00:00")
    answers["scontrol show partition"] += row + "\n"
    return answers


def test_jobs_find_what_nodes_are_like_and_the_block_follows(site, root, tmp_path):
    calls = site(two_partitions(gpus=4)) / "sbatch.calls"
    found = check_site([], "bio", 1)
    asked = calls.read_text().splitlines()
    assert "--partition=main" in asked[0]
    assert "--gpus=2" in asked[0]
    assert "--gpus" not in asked[1]
    assert all("--account=bio" in line for line in asked)
    main, closed = found.trials
    assert main.node.locks
    assert main.node.home == os.environ["HOME"]
    assert "n1.invalid" in main.node.unresolved
    assert "torch sees 0 of 2 GPUs" in main.node.error  # here are none
    assert closed.failure == "refused: Access denied"

    text = site_text(found)
    assert "main       120 min    2      8      7500 MB   4     on " in text
    assert "partition closed: refused: Access denied" in text
    assert "do not resolve" in text
    assert "gres of main: gpu:h100:4" in text
    assert "no accounting" in text

    block = yaml.safe_load(profile_text(found))
    assert block["jobs"] == 200
    assert block["default-resources"]["slurm_partition"] == "main"
    assert block["default-resources"]["slurm_account"] == "bio"
    assert block["set-resources"]["deduplicate"] == {"mem_mb": 7500}
    assert block["max-threads"] == 8
    appended = tmp_path / "config.yaml"
    text = root.joinpath("profiles/slurm/config.yaml").read_text() + profile_text(found)
    appended.write_text(text)
    with appended.open() as file:
        profile = ProfileConfigFileParser().parse(file)  # as Snakemake does
    assert profile["jobs"] == "200"
    assert "slurm_partition=main" in profile["default-resources"]
    assert "deduplicate:mem_mb=7500" in profile["set-resources"]


def test_command_answers_in_json(site, monkeypatch, capsys):
    site(two_partitions())
    monkeypatch.setattr("sys.argv", ["plm-scaling", "check-site", "--partition", "main", "--json"])
    main()
    told = json.loads(capsys.readouterr().out)
    assert told["trials"][0]["partition"]["name"] == "main"
    assert told["trials"][0]["node"]["cpus"] > 0
    assert "slurm_partition: main" in told["profile"]


def test_submit_limit_of_the_site_is_the_number_of_jobs(site):
    answers = two_partitions() | {
        "sacctmgr --noheader --parsable2 show user": "tests|bio|bio|normal|normal|20|\n",
        "sacctmgr --noheader --parsable2 show qos": "normal||||\n",
    }
    answers["scontrol show config"] = small_site(accounting="slurmdbd")["scontrol show config"]
    site(answers)
    found = check_site(["main"], "", 1)
    assert "at most 20 jobs of this user" in site_text(found)
    assert yaml.safe_load(profile_text(found))["jobs"] == 20
    assert yaml.safe_load(profile_text(found))["default-resources"]["slurm_account"] == "bio"


def test_gpus_that_work_are_in_the_block_and_their_machine_beside_it(site):
    site(two_partitions())
    found = check_site(["main"], "", 1)
    node = replace(
        found.trials[0].node, error="", tflops=700.0, nccl_gbytes_per_second=350.0,
        gpus=["NVIDIA A100-SXM4-40GB"] * 2,
    )  # fmt: skip
    partition = found.trials[0].partition
    kinds = (replace(partition.kinds[0], gpus=4),)
    found.trials = [replace(found.trials[0], node=node, partition=replace(partition, kinds=kinds))]
    assert "700 TFLOP/s, NCCL 350 GB/s" in site_text(found)
    block = profile_text(found)
    assert yaml.safe_load(block)["set-resources"]["train_cell"] == {"slurm_partition": "main"}
    assert "machine: {gpu: A100-40GB, gpus_per_node: 4, max_gpus: 8, threads: 2}" in block


def test_node_without_home_or_locks_is_named(site, tmp_path):
    site(two_partitions(), environment="HOME=/nowhere")
    found = check_site(["main"], "", 1)
    found.trials[0].node.locks = False
    text = site_text(found)
    assert "HOME /nowhere cannot be written" in text
    assert "start one Snakemake at a time" in text
    assert "XDG_CACHE_HOME" in profile_text(found)


def test_settings_that_lose_the_ends_of_jobs_are_named(site):
    answers = two_partitions()
    settings = answers["scontrol show config"]
    settings = settings.replace("= 300 sec", "= 30 sec").replace("REQUEUE", "CANCEL")
    site(answers | {"scontrol show config": settings})
    text = site_text(check_site(["main"], "", 1))
    assert "MinJobAge 30 s and no accounting" in text
    assert "preempted jobs are cancelled" in text


def test_job_that_does_not_start_is_cancelled_and_nothing_is_claimed(site):
    answers = two_partitions()
    answers["squeue "] = "17|PENDING|(Priority)\n"
    answers["scancel 17"] = ""
    folder = site(answers)
    found = check_site(["main"], "", 0)
    assert found.trials[0].failure == "did not start within 0 min (Priority)"
    assert "scancel 17" in folder.joinpath("calls").read_text()
    block = profile_text(found)
    assert "# slurm_partition: PARTITION # no job ran" in block
    assert "train_cell" not in yaml.safe_load(block)["set-resources"]


def test_job_that_fails_says_why(site):
    site(two_partitions(), environment="PYTHONPATH=/nowhere PYTHONHOME=/nowhere")
    found = check_site(["main"], "", 1)
    assert found.trials[0].failure.startswith("failed: ")


def test_without_slurm_or_with_another_partition_s_name(site, tmp_path, monkeypatch):
    site(two_partitions())
    with pytest.raises(SlurmError, match="no partition gpu; there are main, closed"):
        check_site(["gpu"], "", 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="no Slurm answers here"):
        check_site([], "", 1)


def test_command_prints_the_block_and_writes_it(site, tmp_path):
    site(two_partitions())
    command = [sys.executable, "-m", "plm_scaling.cli.main", "check-site"]
    command += ["--partition", "main", "--out", "block.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    block = tmp_path.joinpath("block.yaml").read_text()
    assert done.stdout.endswith(block)
    assert json.loads(tmp_path.joinpath("logs/check-site/main.json").read_text())["cpus"] > 0


def test_kind_of_file_system_is_that_of_the_innermost_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert file_system(tmp_path / "work", str(mounts)) == "nfs4"
    assert file_system(tmp_path.parent, str(mounts)) == "ext4"
    assert file_system(tmp_path, "/nowhere") == ""
