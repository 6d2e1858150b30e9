"""How fast a run trains, by both ways of counting FLOPs, and how near that is to the peak."""

import resource
from dataclasses import dataclass

import torch

from plm_scaling.study.cell import Cell
from plm_scaling.study.flops import attention_flops, mean_attended
from plm_scaling.study.hardware import GPUS
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.position import Position


@dataclass(frozen=True)
class Hardware:
    """What a run trains on; the same in every process."""

    device: str
    """Name of the GPU, or cpu."""
    hosts: int
    peak: str | None
    """What utilisation is a share of, in words; None where the peak is not known (CPUs)."""
    peak_flops_per_second: float | None
    """Of all the layout's devices together."""

    @classmethod
    def of(cls, process: Process) -> "Hardware":
        """Ask the device; the number of hosts is agreed on by all processes."""
        hosts = round(process.total(float(process.rendezvous.local_rank == 0))[0])
        if process.device.type != "cuda":
            return cls("cpu", hosts, None, None)
        name = torch.cuda.get_device_name(process.device)
        gpu = gpu_named(name)
        if gpu is None:
            return cls(name, hosts, None, None)
        peak = GPUS[gpu].peak_flops_per_second
        n = process.layout.processes
        said = f"{n} x {gpu} at {peak:.4g} FLOP/s (dense, 16 bits)"
        return cls(name, hosts, said, n * peak)


def gpu_named(device: str) -> str | None:
    """The name in `GPUS` of what a driver calls `device`: NVIDIA H100 80GB HBM3 → H100."""
    said = device.replace(" ", "")
    found = [name for name in GPUS if name.split("-")[0] in said]
    return max(found, key=len) if found else None


@dataclass(frozen=True)
class Throughput:
    """Means over all training steps of a run, without evaluations and checkpoints."""

    tokens_per_second: float
    """Positions, padding included."""
    unpadded_tokens_per_second: float
    flops_per_second: float
    """By 6·N·D."""
    exact_flops_per_second: float
    """By the matrix products that a step has, with attention over whole rows."""
    utilisation: float | None
    """`exact_flops_per_second` as a share of the peak."""
    utilisation_segments: float | None
    """The same with attention within the segments of packed rows, as it is computed."""
    utilisation_6nd: float | None
    """`flops_per_second` as a share of the peak."""

    @classmethod
    def of(cls, cell: Cell, position: Position, hardware: Hardware) -> "Throughput":
        """From the tokens and the time so far."""
        seconds = position.seconds or float("inf")
        rate = position.step * cell.batch_rows * cell.context_length / seconds
        exact = rate * cell.flops_exact / cell.tokens
        whole_rows = rate * mean_attended(cell.context_length, cell.objective)  # pairs a second
        less = attention_flops(cell.shape, whole_rows - position.attended / seconds)
        peak = hardware.peak_flops_per_second
        return cls(
            tokens_per_second=round(rate, 1),
            unpadded_tokens_per_second=round(position.unpadded_tokens / seconds, 1),
            flops_per_second=6.0 * cell.n_params * rate,
            exact_flops_per_second=exact,
            utilisation=round(exact / peak, 4) if peak else None,
            utilisation_segments=round((exact - less) / peak, 4) if peak else None,
            utilisation_6nd=round(6.0 * cell.n_params * rate / peak, 4) if peak else None,
        )


def peak_memory_bytes(process: Process) -> dict[str, int]:
    """Largest memory so far: of all processes together, and of the one that took most.

    On GPUs what PyTorch's tensors took there, on CPUs the processes' resident memory.
    """
    if process.device.type == "cuda":
        own = torch.cuda.max_memory_allocated(process.device)
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (total,), (largest,) = process.total(own), process.maximum(own)
    return {"all processes": round(total), "largest process": round(largest)}
