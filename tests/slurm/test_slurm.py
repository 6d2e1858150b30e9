"""The study through a real Slurm: undisturbed, and with each fault.

Its tables, or the run of the one cell that is trained, are always those of a study without Slurm.
"""

import json
import re
import shutil
import signal
import subprocess
import time

import pytest
from held_cells import HeldCell
from slurm_cluster import wait_until
from slurm_study import (
    LONG,
    SHORT,
    SlurmWorkflow,
    assert_same_run,
    assert_same_tables,
    forget_tables,
    job_of,
)

from plm_scaling.mmseqs.resources import PROGRAM_MIB

pytestmark = pytest.mark.slow

STAGED = 1.2e9  # FLOPs

# Training for GPUs is done on CPUs.
SHIM = """
sys.path.append({tests!r})
from cuda_shim import cuda_on_cpu

shim = cuda_on_cpu()
shim.__enter__()
"""


@pytest.mark.parametrize("with_data", [False, pytest.param(True, marks=pytest.mark.long)])
def test_study_through_slurm_has_the_tables_of_a_local_run(
    undisturbed, cluster, root, tmp_path, with_data, request
):
    """Though a submission was refused, the controller restarted and a job came to its end."""
    if with_data:
        request.getfixturevalue("quick_searches")  # as the data of the local run were made
    workflow = SlurmWorkflow(undisturbed.root, tmp_path / "study", undisturbed.config)
    if with_data:
        workflow.folder.mkdir()
    else:
        workflow = SlurmWorkflow.copy_of(undisturbed, workflow.folder)
        shutil.rmtree(workflow.results)
    unsafe = workflow.run("--config", "published={logs: '$(touch pwned)'}", check=False)
    assert unsafe.returncode == 1
    assert "(touch pwned)'}\" has $, which a shell would read on submission" in unsafe.stderr
    refused = workflow.run("--default-resources", "slurm_partition=nowhere", check=False)
    assert refused.returncode == 1
    assert "invalid partition specified: nowhere" in refused.stderr
    assert "not submitted: invalid partition specified: nowhere" in workflow.status()

    cell = SlurmWorkflow.cell(undisturbed, LONG)
    held = HeldCell(cell, root, tmp_path / "repository")
    workflow.root = held.root
    # Less memory than the profile gives MMseqs2.
    process = workflow.begin("--resources", "mem_mb=1850")
    workflow.wait_for_checkpoint(cell)
    cluster.stop_controller()
    time.sleep(2)  # a few questions of Snakemake's get no answer
    cluster.start_controller()
    held.end_job(start=1)
    workflow.wait_for_checkpoint(cell, start=2)
    number, _ = job_of(cluster, cell)
    assert cluster.resources_of(number) == "gres:gpu:1"
    row = rf"^{cell} .*running .* job {number} running on n\d, \d+:\d\d of 1:00:00$"

    def cell_is_shown() -> bool:
        shown = workflow.status()
        return bool(
            re.search(row, shown, re.MULTILINE)
            and re.search(r"^Slurm: \d+ running", shown, re.MULTILINE)
        )

    wait_until(cell_is_shown, "the cell in `status`", process)
    held.go_on(start=2)
    code, output = workflow.end(process)
    assert code == 0, output

    assert workflow.record(cell)["starts"][1]["step"] > 0
    assert_same_tables(workflow, undisturbed)
    assert (workflow.results / "report.html").is_file()
    if with_data:
        log = (workflow.folder / "logs/tiny/deduplicate.log").read_text()
        limits = [int(limit) for limit in re.findall(r"--split-memory-limit (\d+)M", log)]
        assert limits
        assert max(limits) <= 1850 - PROGRAM_MIB

    # A cell is submitted again only after its job failed, which may be before the program started.
    # Before its time limit the job is queued again.
    logs = dict(re.findall(r"submitted with SLURM jobid (\d+) \(log: (\S+)\)", output))
    failed = re.findall(r"SLURM-job '(\d+)' (?:failed|ended)", output)
    # A look that comes late finds the log of the next start, and not why the first one stopped.
    again = rf"Slurm has queued job '{number}' again \((?:its job ends|not seen why)\)"
    assert re.search(again, output)
    cells = {number for number, log in logs.items() if "rule_train_cell" in log}
    assert len(cells.difference(failed)) == len(list((workflow.results / "runs").iterdir()))
    assert len(logs) - len(cells) <= (19 if with_data else 4)
    # No groups, whose jobs run one after the other and are all repeated when one of them fails.
    assert all("/rule_" in log for log in logs.values())


def test_cell_is_cancelled_then_preempted_then_loses_its_node(disturbed, undisturbed, cluster):
    workflow, cell, held = disturbed
    process = workflow.begin_as_users_do(workflow.result_of(cell))
    steps = [workflow.wait_for_checkpoint(cell)]
    subprocess.run(["scancel", job_of(cluster, cell)[0]], check=True)

    steps.append(workflow.wait_for_checkpoint(cell, start=2))
    preempting = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--mem=0"]
    preempting += ["--output=/dev/null", "--wrap", "sleep 3"]
    subprocess.run(preempting, check=True, capture_output=True)

    steps.append(workflow.wait_for_checkpoint(cell, start=3))
    node = job_of(cluster, cell)[1]
    cluster.kill_node(node)
    held.go_on(start=4)
    code, output = workflow.end(process)
    cluster.start_node(node)
    assert code == 0, output
    assert re.search(r"^\[train\] 1 job in .*\ndone in ", output, re.MULTILINE)
    starts = workflow.record(cell)["starts"]
    assert all(after["step"] >= step for after, step in zip(starts[1:], steps, strict=True))
    assert_same_run(workflow, undisturbed, cell)
    wait_until(lambda: cluster.nodes()[node] == "idle", "the node again")


def test_interrupt_cancels_the_jobs_and_those_of_a_killed_snakemake_are_adopted(
    disturbed, undisturbed, cluster
):
    workflow, cell, held = disturbed
    process = workflow.begin(workflow.result_of(cell))
    step = workflow.wait_for_checkpoint(cell)
    process.send_signal(signal.SIGINT)
    code, _ = workflow.end(process)
    assert code == 1
    wait_until(lambda: not cluster.jobs("%A"), "an empty queue")

    process = workflow.begin(workflow.result_of(cell))
    workflow.wait_for_checkpoint(cell, start=2)
    number, _ = job_of(cluster, cell)
    process.send_signal(signal.SIGKILL)
    process.wait()
    workflow.run("--unlock")
    process = workflow.begin(workflow.result_of(cell))
    wait_until(lambda: f"is job {number} of an earlier run" in workflow.output, "its job", process)
    held.go_on(start=2)
    code, output = workflow.end(process)
    assert code == 0, output
    submitted = re.findall(r"submitted with SLURM jobid \d+ \(log: (\S+)\)", output)
    assert not any("rule_train_cell" in log for log in submitted)
    starts = workflow.record(cell)["starts"]
    assert len(starts) == 2
    assert starts[1]["step"] >= step
    assert_same_run(workflow, undisturbed, cell)


@pytest.mark.long
def test_stage_is_placed_by_snakemake_itself_and_its_cells_are_jobs(undisturbed, tmp_path):
    workflow = SlurmWorkflow.copy_of(undisturbed, tmp_path / "study")
    forget_tables(workflow)
    stage = {"from_flops": STAGED, "sizes": 4, "reach": 1}
    workflow.config["sweep"] |= {"budgets_flops": [SHORT, STAGED], "stages": [stage]}
    output = workflow.run("train").stderr
    placed = json.loads((workflow.results / "stages/2.json").read_text())["budgets"]
    assert [(budget["flops"], budget["sizes"]) for budget in placed] == [(STAGED, ["b", "c"])]
    jobs = re.findall(r"submitted with SLURM jobid \d+ \(log: \S+/rule_(\w+)/", output)
    assert jobs == ["train_cell"] * 2
    assert workflow.planned("train") == {}


@pytest.mark.long
def test_job_that_exceeds_its_memory_gets_more(disturbed, undisturbed):
    workflow, cell, held = disturbed
    held.go_on(start=1)
    # The outer and the inner Snakemake count as well.
    workflow.cell_resources = ("gpu=1", "mem_mb=350*attempt", "runtime=60")
    assert workflow.run("--retries", "0", workflow.result_of(cell), check=False).returncode == 1
    assert f"failed: train_cell (results/tiny/runs/{cell}/result.json): out of memory; " in (
        workflow.status()
    )
    done = workflow.run(workflow.result_of(cell))
    assert "Trying to restart job" in done.stderr
    assert "failed" not in workflow.status()
    assert workflow.record(cell)["status"] == "finished"
    assert_same_run(workflow, undisturbed, cell)


@pytest.mark.long
def test_full_shared_folder_is_reported_and_the_next_run_resumes(disturbed, undisturbed, cluster):
    workflow, cell, held = disturbed
    held.go_on(start=1)
    folder = workflow.results / "runs" / cell
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file systems can be mounted here")
    try:
        done = workflow.run("--retries", "0", workflow.result_of(cell), check=False)
        assert done.returncode == 1
        assert "the checkpoint of step" in done.stderr
        assert "cannot be written: No space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        workflow.run(workflow.result_of(cell))
        assert_same_run(workflow, undisturbed, cell)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_cell_on_two_nodes_is_started_by_srun_saves_and_resumes(
    disturbed, undisturbed, cluster, root, tmp_path
):
    """Whose names are known only to Slurm."""
    workflow, _, _ = disturbed
    cell = workflow.cell(SHORT)  # this way a step takes four times as long
    workflow.forget(cell)
    program = SHIM.format(tests=str(root / "tests/support"))
    held = HeldCell(cell, root, tmp_path / "two", program)
    workflow.root = held.root
    machine = {"backend": "cuda", "gpu": "H100", "gpus_per_node": 1, "max_gpus": 2}
    workflow.config["machine"] |= machine | {"threads": 1, "layouts": {"b": {"data": 2}}}
    workflow.cell_resources = ("mem_mb=3000", "runtime=60")
    process = workflow.begin(workflow.result_of(cell))
    step = workflow.wait_for_checkpoint(cell)
    number, nodes = job_of(cluster, cell)
    assert nodes == "n[1-2]"
    subprocess.run(["scancel", number], check=True)
    held.go_on(start=2)
    code, output = workflow.end(process)
    assert code == 0, output
    record = workflow.record(cell)
    assert record["starts"][1]["step"] >= step
    assert (record["layout"]["backend"], record["layout"]["data"]) == ("cuda", 2)
    one = SlurmWorkflow.record(undisturbed, cell)
    assert record["loss"] == pytest.approx(one["loss"], abs=1e-4)
