"""Programs find this library first, keep what modules of the site set, and no outer job's ranks."""

from pathlib import Path

from plm_scaling.common.environment import prepare


def test_paths_of_environment_modules_stay_behind_ours():
    environ = {"PATH": "/opt/cuda/bin:/usr/bin", "PYTHONPATH": "/opt/te/lib:/opt/nccl"}
    prepare(environ, Path("/venv/bin/python"), Path("/repo/src"))
    assert environ["PATH"] == "/venv/bin:/opt/cuda/bin:/usr/bin"
    assert environ["PYTHONPATH"] == "/repo/src:/opt/te/lib:/opt/nccl"
    again = dict(environ)
    prepare(again, Path("/venv/bin/python"), Path("/repo/src"))  # as in a job of Snakemake's
    assert again == environ


def test_an_empty_path_does_not_stand_for_the_working_folder():
    environ = {"PYTHONPATH": ""}
    prepare(environ, Path("/venv/bin/python"), Path("/repo/src"))
    assert environ["PYTHONPATH"] == "/repo/src"
    assert environ["PATH"].startswith("/venv/bin:")


def test_ranks_of_an_outer_job_go_and_what_the_site_set_stays():
    outer = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "MASTER_ADDR": "gpu01"}
    outer |= {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3", "PET_NNODES": "2"}
    outer |= {"OMPI_COMM_WORLD_SIZE": "8", "PMI_RANK": "3", "TORCHELASTIC_RUN_ID": "x"}
    site = {"SLURM_JOB_ID": "7", "LOCAL_SCRATCH": "/scratch", "OMPI_MCA_btl": "tcp", "RANKS": "1"}
    site |= {"NCCL_SOCKET_IFNAME": "ib0", "SLURM_CONF": "/etc/slurm.conf"}
    environ = outer | site
    prepare(environ, Path("/venv/bin/python"), Path("/repo/src"))
    assert environ.keys() - {"PATH", "PYTHONPATH"} == site.keys()
