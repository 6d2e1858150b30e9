"""Estimated hours of a cell on the machine of the config."""

from plm_scaling.config.machine import Machine
from plm_scaling.study.cell import Cell
from plm_scaling.study.hardware import gpu_hours
from plm_scaling.study.layout import Layout
from plm_scaling.sweep.settings import by_size

HELD_OUT_SETS = 2  # valid, and ood where there is one, which the sweep does not know
# What a GPU sends and receives: of NVLink and of a 200 Gbit/s network card of its own, less what
# protocols take. Assumed.
NODE_BYTES_PER_SECOND = 150e9
NETWORK_BYTES_PER_SECOND = 20e9


def estimated_hours(cell: Cell, layout: Layout, machine: Machine) -> float:
    """Wall hours of all processes at the rates that `machine` assumes.

    From the exact FLOPs of training and of the evaluations' forward passes; with recomputation the
    layers' forward pass is done twice, 4/3 of training. On GPUs also communication: sums of
    gradients and gathered weights of replicas as far as the step does not hide them, all that
    processes that share matrices exchange. Pipeline bubbles are in the assumed utilisation.
    """
    evaluations = cell.flops_exact * evaluation_share(cell)
    if layout.backend == "cpu":
        rate = machine.cpu_gflops * 1e9 * machine.threads * layout.processes
        return (cell.flops_exact + evaluations) / rate / 3600
    training = cell.flops_exact * (4 / 3 if layout.recompute == "full" else 1)
    utilisation = by_size(machine.utilisation, cell.n_params)
    steps, passes = (
        gpu_hours(flops, machine.gpu, utilisation) / layout.processes
        for flops in (training, evaluations)
    )
    of_replicas, of_matrices = _communication_hours(cell, layout, machine)
    return max(steps, of_replicas) + of_matrices + passes


def evaluation_share(cell: Cell) -> float:
    """FLOPs of the evaluations' forward passes as a share of those of training."""
    evaluated = cell.evaluations * HELD_OUT_SETS * cell.valid_rows * cell.context_length
    return evaluated / cell.tokens / 3


def _communication_hours(cell: Cell, layout: Layout, machine: Machine) -> tuple[float, float]:
    """Of a GPU: between replicas (DP), and between processes that share matrices (TP)."""
    rate = NODE_BYTES_PER_SECOND
    if layout.processes > machine.gpus_per_node:  # rings over the cards of a node's replicas
        cards = max(1, machine.gpus_per_node // layout.tensor)
        rate = min(rate, cards * NETWORK_BYTES_PER_SECOND)
    value_bytes = 2 if cell.precision == "bf16" else 4
    own_parameters = cell.n_params_total / layout.tensor / layout.pipeline
    # Gradients are summed in fp32, each replica takes its part; then it gathers the weights.
    of_replicas = cell.steps * (4 + value_bytes) * own_parameters * (1 - 1 / layout.data) / rate
    # Sequence parallelism: activations are gathered and scattered around attention and MLP, forward
    # and backward, and gathered once more in each for the weights' gradients.
    own_tokens = cell.tokens / layout.data
    exchanged = 10 * (cell.layers / layout.pipeline) * cell.hidden * value_bytes * own_tokens
    of_matrices = exchanged * (1 - 1 / layout.tensor) / NODE_BYTES_PER_SECOND
    return of_replicas / 3600, of_matrices / 3600
