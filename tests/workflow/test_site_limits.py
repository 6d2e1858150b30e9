"""Jobs fit the site, by its profile or by what Slurm says; what cannot fit is not submitted."""

import re

import pytest
from pretended_slurm import pretended_slurm, small_site

pytestmark = pytest.mark.slow

SBATCH = """\
#!/bin/sh
echo "$*" >> "$0.calls"
exit 1
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Nodes of 7,500 MB and 2 GPUs, two hours at most, an sbatch that refuses."""
    answers = small_site() | {"squeue ": "", "sacct ": ""}
    answers["sinfo "] = answers["sinfo "].replace("gpu:fake:4", "gpu:fake:2")
    folder = pretended_slurm(tmp_path / "slurm", answers)
    folder.joinpath("sbatch").write_text(SBATCH)
    folder.joinpath("sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def requests(output):
    """The most that a job asks for: MB, minutes."""
    jobs = re.findall(r"mem_mb=(\d+), .*runtime=(\d+)", output)
    return [max(map(int, values)) for values in zip(*jobs, strict=True)]


def test_no_job_requests_more_than_the_profile_or_slurm_says(fresh, root, tmp_path, site):
    dry = ("--dry-run", "--profile", root / "profiles/slurm")
    assert requests(fresh.run(*dry).stdout) == [7500, 120]
    assert requests(fresh.run(*dry, "--resources", "runtime=90", "mem_mb=3000").stdout) == [
        3000, 90,
    ]  # fmt: skip
    # Each attempt asks for more, up to what there is.
    assert requests(fresh.run(*dry, "--attempt", "3").stdout) == [7500, 120]
    site.joinpath("scontrol").write_text("#!/bin/sh\nexit 1\n")
    assert requests(fresh.run(*dry).stdout) == [240000, 2880]


def test_cell_that_no_node_can_take_is_refused_before_anything_is_submitted(
    fresh, root, tmp_path, site
):
    """Though its turn would come after the data path."""
    gpus = {"backend": "cuda", "gpu": "H100", "gpus_per_node": 4, "max_gpus": 4}
    fresh.config["machine"] |= gpus | {"layouts": {"b": {"data": 4}}}
    profile = ("--profile", root / "profiles/slurm", "--set-resources", "train_cell:mem_mb=2000")
    for words in (profile, ("--dry-run", *profile)):
        done = fresh.run(*words, check=False)
        assert done.returncode == 1
        said = re.search(
            r"train_cell [0-9a-f]{10} can never start: (.*)", done.stdout + done.stderr
        )
        assert said, done.stderr
        assert said[1] == (
            "it asks for 4 GPUs of a node, and those of partition main have 2: "
            "set machine.gpus_per_node"
        )
    assert not site.joinpath("sbatch.calls").exists()


def test_partition_that_slurm_does_not_list_is_named_before_the_data_are_made(fresh, site):
    """Which may take days, and the cells would be refused after them."""
    cells = ("--set-resources", "train_cell:slurm_partition=nowhere,main")
    done = fresh.run("--executor", "slurm", "--jobs", "1", *cells, check=False)
    assert "warning: train_cell asks for partition nowhere; Slurm lists main" in done.stderr
    assert done.stderr.count("asks for partition") == 1


@pytest.mark.parametrize(("most", "submitted"), [(1, 1), (10000, 2)])
def test_no_more_jobs_are_submitted_than_slurm_takes(fresh, site, most, submitted):
    """Snakemake stops at the first refusals: what it tries before are the jobs it may have."""
    config = site.joinpath("scontrol.0.txt")
    config.write_text(
        config.read_text().replace("MaxJobCount             = 10000", f"MaxJobCount = {most}")
    )
    done = fresh.run("--executor", "slurm", "--jobs", "50", "--retries", "0", check=False)
    assert done.returncode == 1
    assert ("at most 1 jobs of this user" in done.stderr) == (most == 1)
    assert len(site.joinpath("sbatch.calls").read_text().splitlines()) == submitted
