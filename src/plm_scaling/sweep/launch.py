"""What a training job asks of a scheduler, and how its processes are started."""

import math
import shutil
from collections.abc import Iterable, Mapping

from plm_scaling.common.errors import SweepError
from plm_scaling.common.progress import many
from plm_scaling.config.machine import Machine
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.memory import checkpoint_bytes, process_memory

CUDA_HOST_BYTES = 8e9  # of a process, assumed: libraries, batches, holes between tensors
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"  # that torchrun passes on
SAVING_SECONDS = 600  # for a checkpoint after a signal; then torchrun kills
MOST_MEMORY = 4  # times the estimate; beyond so many attempts it is the time that was too short
STARTING_MINUTES = 30  # on top of the estimate: a queue's slow file system, imports, checkpoints


def beside_others(machine: Machine, cores: int, gpus: int) -> Machine:
    """The machine for cells on a box of so many GPUs, whose processes share its cores.

    Otherwise cells would leave GPUs idle for want of cores. An eighth of the cores is left for jobs
    of the data.
    """
    share = (cores - cores // 8) // gpus
    return machine.model_copy(update={"threads": max(1, min(machine.threads, share))})


def check_box(layouts: Mapping[str, Layout], machine: Machine, gpus: int) -> None:
    """Raise `SweepError` naming the first of these cells that one machine of `gpus` cannot run."""
    for cell, layout in layouts.items():
        if layout.processes > gpus or nodes(layout, machine) > 1:
            raise SweepError(
                f"cell {cell} is divided over {many(layout.processes, 'GPU')} on "
                f"{many(nodes(layout, machine), 'node')}, this machine has {gpus} for the "
                f"study; set machine.gpus_per_node to {gpus}, and machine.max_gpus to {gpus} "
                "at most (docs/running.md)"
            )


def nodes(layout: Layout, machine: Machine) -> int:
    """Nodes of the job; processes of the CPU backend share one."""
    return 1 if layout.backend == "cpu" else -(-layout.processes // machine.gpus_per_node)


def processes_per_node(layout: Layout, machine: Machine) -> int:
    return layout.processes // nodes(layout, machine)


def launcher(layout: Layout, machine: Machine, lock: str) -> str:
    """The command that is put before a Python program to start it in all processes.

    `lock` is the file whose lock a cell holds while it runs.

    One process is Python itself. On one node torchrun gives each its rank (`--` keeps it from
    taking the program's own options, which it finds ambiguous, for its own), and
    `plm_scaling.common.devices` gives the cell GPUs that no other one has, once no other process
    trains it. torchrun is told everything, and addresses in place of names: neither a host's own
    name nor `localhost` has to resolve, or to IPv4. On several nodes that would need a torchrun on
    every node, so there the site's own launcher starts the processes, and the program reads ranks
    from its variables. srun is told everything: inside a job it finds nothing but the job's id
    (`plm_scaling.slurm.submission`).
    """
    per_node = processes_per_node(layout, machine)
    if nodes(layout, machine) == 1:
        own_gpus = f"python -m plm_scaling.common.devices {per_node} --after {lock} "
        if layout.backend == "cpu":
            own_gpus = ""
        if layout.processes == 1:
            return f"{own_gpus}python"
        return (
            f"{own_gpus}torchrun --nnodes 1 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0 "
            f"--local-addr 127.0.0.1 --nproc-per-node {per_node} --signals-to-handle {SIGNALS} "
            f"--shutdown-timeout {SAVING_SECONDS} --"
        )
    counts = {"nodes": nodes(layout, machine), "per_node": per_node}
    counts |= {"processes": layout.processes, "threads": machine.threads}
    return f"{machine.launcher.format_map(counts)} python"


def check_launcher(layouts: Iterable[Layout], machine: Machine) -> None:
    """Raise `SweepError` if one of these needs several nodes, and what starts processes there is
    not to be found: before jobs hold GPUs only to say so."""
    needed = max((nodes(layout, machine) for layout in layouts), default=1)
    program = machine.launcher.split()[0]
    if needed > 1 and not shutil.which(program):
        raise SweepError(
            f"cells take up to {needed} nodes, where {program!r} of machine.launcher is to start "
            "their processes, and it is not found; name what this site has (docs/schedulers.md), "
            "or set machine.max_gpus to the GPUs of a node"
        )


def resources(cell: Cell, layout: Layout, machine: Machine, attempt: int) -> dict[str, int | str]:
    """Threads and resources of the job on each node; memory and time grow with the attempts.

    The names are those of Snakemake's Slurm plugin; `gpu` counts all nodes' GPUs. With `mpi` the
    job starts the processes itself. It refuses one task per node, so nodes of one
    GPU are asked for by their tasks in all, which it would take for those of each GPU.
    """
    per_node = processes_per_node(layout, machine)
    asked: dict[str, int | str] = {
        "threads": machine.threads * per_node,
        "mem_mb": math.ceil(per_node * _host_bytes(cell, layout, min(attempt, MOST_MEMORY)) / 1e6),
        "runtime": attempt
        * math.ceil(STARTING_MINUTES + 1.5 * 60 * estimated_hours(cell, layout, machine)),
    }
    if layout.backend == "cuda":
        # Without the nodes Slurm may spread a node's worth of GPUs over several.
        asked |= {"gpu": layout.processes, "nodes": nodes(layout, machine)}
    if nodes(layout, machine) > 1:
        asked |= {"mpi": "srun", "cpus_per_task": machine.threads}
        asked |= (
            {"tasks_per_node": per_node}
            if per_node > 1
            else {"tasks": layout.processes, "tasks_per_gpu": 1}
        )
    return asked


def _host_bytes(cell: Cell, layout: Layout, times: int) -> float:
    """Main memory of a process, with `times` of what is estimated and not counted."""
    if layout.backend == "cuda":
        return times * CUDA_HOST_BYTES + checkpoint_bytes(cell, layout)
    return times * 1.25 * process_memory(cell, layout).total
