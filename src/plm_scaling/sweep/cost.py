"""Estimated hours of a cell on the machine of the config."""

from plm_scaling.config.machine import Machine
from plm_scaling.study.cell import Cell
from plm_scaling.study.hardware import gpu_hours
from plm_scaling.study.layout import Layout
from plm_scaling.sweep.cells import by_size


def estimated_hours(cell: Cell, layout: Layout, machine: Machine) -> float:
    """Wall hours of all processes at the rates that `machine` assumes.
    From the exact FLOPs: with recomputation the layers' forward pass is done twice, 4/3 of them.
    Communication, pipeline bubbles and evaluations are in the assumed utilisation or nowhere."""
    if layout.backend == "cpu":
        rate = machine.cpu_gflops * 1e9 * machine.threads * layout.processes
        return cell.flops_exact / rate / 3600
    flops = cell.flops_exact * (4 / 3 if layout.recompute == "full" else 1)
    utilisation = by_size(machine.utilisation, cell.n_params)
    return gpu_hours(flops, machine.gpu, utilisation) / layout.processes
