"""Config block of the machine that trains."""

from typing import Literal, Self

from pydantic import model_validator

from plm_scaling.config.numbers import Block, Count, Name, Positive
from plm_scaling.config.training import BySize, ascending, by_size
from plm_scaling.study.hardware import GPUS

Backend = Literal["cuda", "cpu"]
Recompute = Literal["none", "full"]
LAUNCHER_COUNTS = ("nodes", "processes", "per_node", "threads")
Order = Literal["makespan", "first-law"]
SRUN = (
    "srun --nodes {nodes} --ntasks {processes} --ntasks-per-node {per_node} --gpus {processes} "
    "--cpus-per-task {threads} --kill-on-bad-exit"
)


class LayoutBlock(Block):
    """Parts of a layout to be kept; what is left out is chosen. Given all, memory is not asked."""

    tensor: Count | None = None
    """Processes that share each layer's matrices (TP); divides heads and GPUs per node."""
    pipeline: Count | None = None
    """Groups of layers that follow one another (PP); divides layers. 1 on the CPU."""
    data: Count | None = None
    """Replicas of the model (DP); divides the rows of a batch."""
    micro_batch_rows: Count | None = None
    """Rows of one forward and backward pass; divides the rows of a replica."""
    recompute: Recompute | None = None
    """full: activations are computed again in the backward pass. none on the CPU."""


class Machine(Block):
    """Where the study is trained. It decides how cells are divided over processes, what they ask of
    a scheduler and what the bill says, and changes results only by rounding: no cell is trained
    again when it changes. Keep your own in a file beside the study's: snakemake --configfile
    config.yaml site.yaml (docs/running.md)."""

    backend: Backend = "cuda"
    """cuda: a process per GPU, NCCL. cpu: gloo."""
    gpu: Name = "H100"
    """For cuda: a name in the table of GPUs (src/plm_scaling/study/hardware.py)."""
    gpus_per_node: Count = 8
    """For cuda: GPUs of a node; a cell takes up to one node, or whole nodes."""
    max_gpus: Count = 8
    """For cuda: GPUs that one cell may take at most."""
    target_hours: Positive = 24.0
    """For cuda: a cell takes the fewest GPUs with which it is estimated to take no longer. If
    max_gpus are too few for that, it takes what is fastest."""
    utilisation: BySize = by_size({0: 0.1, 2e7: 0.2, 8e7: 0.3, 4e8: 0.4})
    """For cuda: share of the GPUs' peak that the estimate of hours assumes, from a model size
    upwards. Attention and the output layer count, what is computed twice does not. Put in what your
    runs reach."""
    cpu_processes: Count = 1
    """For cpu: processes per cell, each with a share of the batch, as far as its rows divide."""
    cpu_gflops: Positive = 10.0
    """For cpu: achieved GFLOP/s of one thread that the estimate of hours assumes."""
    threads: Count = 8
    """CPU threads of each process."""
    launcher: str = SRUN
    """What starts the processes of a cell that takes several nodes; put before python, with
    {nodes}, {processes} (of all), {per_node} and {threads} filled in. srun needs Slurm; for mpirun
    and others see docs/schedulers.md."""
    order: Order = "first-law"
    """Which cells start first where not all can run at once, on one machine and in Slurm's queue.
    first-law: the cheapest budget's, so that the first IsoFLOP curve closes early. makespan: those
    that take longest with the cells that wait for them, so that all end soonest. docs/running.md
    compares them."""
    layouts: dict[Name, LayoutBlock] = {}
    """Layouts of sizes that should differ from those chosen: {7.2B: {tensor: 2, recompute: full}};
    what is left out is chosen. {} for none."""

    @model_validator(mode="after")
    def _utilisation_is_a_share(self) -> Self:
        ascending("utilisation", self.utilisation)
        if any(entry.value > 1 for entry in self.utilisation):
            raise ValueError("utilisation: a share of the peak is at most 1")
        return self

    @model_validator(mode="after")
    def _launcher_is_filled_in(self) -> Self:
        if not self.launcher.split():
            raise ValueError("launcher: it names no command; srun is that of Slurm")
        try:
            self.launcher.format_map(dict.fromkeys(LAUNCHER_COUNTS, 1))
        except (KeyError, ValueError, IndexError) as error:
            known = ", ".join(f"{{{name}}}" for name in LAUNCHER_COUNTS)
            raise ValueError(f"launcher: {error} cannot be filled in; there are {known}") from None
        return self

    @model_validator(mode="after")
    def _gpu_is_known(self) -> Self:
        if self.gpu not in GPUS:
            raise ValueError(f"gpu: unknown GPU {self.gpu!r}; there are {', '.join(GPUS)}")
        return self
