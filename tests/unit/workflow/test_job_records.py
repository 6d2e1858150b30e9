"""What a job has made is recorded, though no Snakemake waits for the job."""

import pytest
from forked_snakemake import snakemake

SNAKEFILE = """
from plm_scaling.workflow.job_records import record_in_jobs

record_in_jobs(workflow)

rule filter:
    output:
        "kept.txt",
    params:
        quantile=config["quantile"],
    shell:
        "echo {params.quantile} > {output}"
"""
# As our executor and Snakemake's generic one call it in a job.
IN_A_JOB = ["--mode", "remote", "--target-jobs", "filter:", "--allowed-rules", "filter", "--force"]
IN_A_JOB += ["--nolock", "--ignore-incomplete", "--cores", "1"]


@pytest.fixture
def made_by_a_job(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    code, _, said = snakemake([*IN_A_JOB, "--config", "quantile=0.01"], tmp_path)
    assert code == 0, said
    assert (tmp_path / "kept.txt").read_text() == "0.01\n"
    return tmp_path


@pytest.mark.parametrize(("quantile", "jobs"), [("0.01", 0), ("0.05", 1)])
def test_change_of_params_is_noticed_after_a_job_that_no_snakemake_waited_for(
    made_by_a_job, quantile, jobs
):
    words = ["--dry-run", "--cores", "1", "--config", f"quantile={quantile}"]
    code, out, said = snakemake(words, made_by_a_job)
    assert code == 0, said
    assert (out + said).count("rule filter:") == jobs
    assert ("Params have changed" in out + said) == bool(jobs)
