"""What a training job asks for and how its processes start."""

import pytest
from cell_fixtures import cell_of
from configs import read_config
from machines import machine

from plm_scaling.common.errors import SweepError
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import STUDY_GRID, Shape
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.launch import beside_others, check_box, launcher, resources
from plm_scaling.sweep.memory import process_memory

GPU_CELL = cell_of(
    "clm",
    STUDY_GRID["2.8B"],
    precision="bf16",
    batch_rows=512,
    context_length=1024,
    flops_exact=1e20,
    evaluations=0,
)


def gpus(data, tensor=1):
    return Layout("cuda", tensor, 1, data, 4, "none")


def test_one_process_is_python_and_several_on_a_node_are_torchruns():
    where = machine()
    lock = "results/s/runs/1/lock"
    assert launcher(Layout("cpu", 1, 1, 1, 1, "none"), where, lock) == "python"
    reserved = "python -m plm_scaling.common.devices"
    assert launcher(gpus(1), where, lock) == f"{reserved} 1 --after {lock} python"
    for layout, count in ((gpus(2, tensor=4), 8), (Layout("cpu", 1, 1, 12, 1, "none"), 12)):
        command = launcher(layout, where, lock)
        before = f"{reserved} {count} --after {lock} "
        assert command.startswith(before) == (layout.backend == "cuda")
        words = command.removeprefix(before).split()
        assert words[0] == "torchrun"
        assert words[words.index("--rdzv-endpoint") + 1] == "127.0.0.1:0"  # any port that is free
        assert words[words.index("--nproc-per-node") + 1] == str(count)
        assert words[-1] == "--"  # the program's options are no concern of torchrun's


def test_several_nodes_are_started_by_slurm_with_every_resource(root):
    where = read_config(root / "config.yaml").machine.model_copy(update={"threads": 3})
    words = launcher(gpus(32), where, "lock").split()
    assert words[0] == "srun"
    assert words[-2:] == ["--kill-on-bad-exit", "python"]
    options = dict(zip(words[1:-2:2], words[2:-2:2], strict=True))
    assert options == {
        "--nodes": "4", "--ntasks": "32", "--ntasks-per-node": "8", "--gpus": "32",
        "--cpus-per-task": "3",
    }  # fmt: skip


def test_several_nodes_are_started_by_the_launcher_of_the_site():
    mpirun = machine(launcher="mpirun -np {processes} --map-by ppr:{per_node}:node", threads=3)
    assert launcher(gpus(32), mpirun, "lock") == "mpirun -np 32 --map-by ppr:8:node python"
    assert launcher(gpus(8), mpirun, "lock").startswith(
        "python -m plm_scaling.common.devices 8 --after lock torchrun"
    )
    with pytest.raises(ValueError, match=r"launcher: 'ranks' cannot be filled in; .*\{per_node\}"):
        machine(launcher="mpirun -np {ranks}")


def test_resources_on_one_node_leave_the_processes_to_torchrun():
    where = machine(threads=3)
    asked = resources(GPU_CELL, gpus(4), where, attempt=1)
    assert (asked["gpu"], asked["nodes"]) == (4, 1)
    assert asked["threads"] == 12
    assert not {"mpi", "tasks_per_node", "cpus_per_task"} & set(asked)
    assert asked["mem_mb"] * 1e6 >= 12 * GPU_CELL.n_params_total


@pytest.mark.parametrize(("size", "data"), [("1.2B", 1), ("7.2B", 16), ("10.7B", 128)])
def test_gpu_job_asks_for_what_a_checkpoint_takes(size, data):
    """Its share of AdamW's state, in each process."""
    cell = cell_of("clm", STUDY_GRID[size], precision="bf16", batch_rows=512, context_length=1024)
    values = 12 * cell.n_params_total / data
    asked = resources(cell, gpus(data), machine(), attempt=1)["mem_mb"] * 1e6
    assert 1.0 < asked / (min(data, 8) * (values + 8e9)) < 1.05
    divided = resources(cell, gpus(data, tensor=2), machine(), attempt=1)["mem_mb"] * 1e6
    per_process = divided / min(2 * data, 8)
    assert per_process == pytest.approx(8e9 + values / 2, rel=0.05)


def test_resources_of_several_nodes_are_per_node_except_gpus():
    where = machine(threads=3)
    asked = resources(GPU_CELL, gpus(16), where, attempt=1)
    assert asked["gpu"] == 16
    assert (asked["nodes"], asked["tasks_per_node"], asked["cpus_per_task"]) == (2, 8, 3)
    assert asked["threads"] == 24
    assert asked["mpi"] == "srun"


def test_resources_of_nodes_with_one_gpu_are_requested_per_task():
    """The plugin refuses tasks_per_node = 1, and takes tasks for those of a GPU."""
    asked = resources(GPU_CELL, gpus(4), machine(gpus_per_node=1), attempt=1)
    assert (asked["nodes"], asked["tasks"], asked["tasks_per_gpu"]) == (4, 4, 1)
    assert "tasks_per_node" not in asked


def test_cpu_job_asks_for_the_memory_of_all_its_processes_and_no_gpu():
    cell = cell_of("mlm", Shape(2, 64, 170, 4), batch_rows=64)
    layout = Layout("cpu", 1, 1, 2, 32, "none")
    asked = resources(cell, layout, machine(backend="cpu", threads=1), attempt=1)
    assert asked["threads"] == 2
    assert "gpu" not in asked
    assert asked["mem_mb"] * 1e6 >= 2 * 1.15 * process_memory(cell, layout).total


def test_time_and_memory_grow_with_the_attempts():
    """Time always; memory no further when a long cell has met its time limit many times, and what
    a checkpoint takes not at all: it is counted, and twice as much may be more than a node has."""
    where = machine()
    first, second, tenth = (resources(GPU_CELL, gpus(8), where, n) for n in (1, 2, 10))
    hours = estimated_hours(GPU_CELL, gpus(8), where)
    assert first["runtime"] / 60 > 1.2 * hours
    assert second["runtime"] == 2 * first["runtime"]
    assert second["mem_mb"] - first["mem_mb"] == 8 * 8000
    assert tenth["runtime"] == 10 * first["runtime"]
    assert tenth["mem_mb"] - first["mem_mb"] == 3 * 8 * 8000
    cell, cpus = cell_of("mlm", Shape(2, 64, 170, 4)), Layout("cpu", 1, 1, 1, 4, "none")
    one, two, ten = (resources(cell, cpus, machine(backend="cpu"), n)["mem_mb"] for n in (1, 2, 10))
    assert (two / one, ten / one) == (pytest.approx(2, rel=0.01), pytest.approx(4, rel=0.01))


def test_hours_are_flops_over_the_assumed_rate():
    where = machine(utilisation=[{"from_parameters": 0, "value": 0.25}])
    hours = estimated_hours(GPU_CELL, gpus(8), where)
    assert hours == pytest.approx(1e20 / (8 * 989e12 * 0.25) / 3600)
    again = estimated_hours(GPU_CELL, Layout("cuda", 1, 1, 8, 4, "full"), where)
    assert again == pytest.approx(hours * 4 / 3)
    cpu = machine(backend="cpu", threads=3, cpu_gflops=5.0)
    layout = Layout("cpu", 1, 1, 2, 4, "none")
    assert estimated_hours(GPU_CELL, layout, cpu) == pytest.approx(1e20 / (6 * 5e9) / 3600)


@pytest.mark.parametrize(
    ("cores", "threads"), [(256, 16), (96, 10), (64, 7), (16, 1), (8, 1), (4, 1)]
)
def test_eight_cells_on_a_box_divide_its_cores_and_leave_some_to_the_data(cores, threads):
    assert beside_others(machine(threads=16), cores, gpus=8).threads == threads


def test_a_cell_that_does_not_fit_a_box_is_an_error_with_the_numbers():
    layouts = {"small": gpus(2), "large": gpus(8)}
    check_box(layouts, machine(gpus_per_node=8), 8)
    with pytest.raises(SweepError, match=r"cell large is divided over 8 GPUs on 1 .* has 4 for"):
        check_box(layouts, machine(gpus_per_node=8), 4)
    with pytest.raises(SweepError, match=r"cell large .* 8 GPUs on 2 .*gpus_per_node to 8"):
        check_box(layouts, machine(gpus_per_node=4), 8)
