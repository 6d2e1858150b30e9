"""Peak rates and memory of GPUs."""

from dataclasses import dataclass

from plm_scaling.common.errors import SweepError


@dataclass(frozen=True)
class Gpu:
    """One device as a process sees it."""

    peak_flops_per_second: float
    """Dense matrix products in 16 bits (bf16; V100: fp16), without sparsity."""
    memory_bytes: float
    """As sold. Most devices have up to 7 % more (they count in GiB), which drivers use."""


# From the makers' data sheets. A module of MI250X shows itself as two devices of the kind below.
GPUS = {
    "V100": Gpu(125e12, 16e9),
    "V100-32GB": Gpu(125e12, 32e9),
    "A100": Gpu(312e12, 80e9),
    "A100-40GB": Gpu(312e12, 40e9),
    "L40S": Gpu(362e12, 48e9),
    "RTX4090": Gpu(165e12, 24e9),
    "H100": Gpu(989e12, 80e9),
    "H200": Gpu(989e12, 141e9),
    "B200": Gpu(2250e12, 180e9),
    "MI250X": Gpu(191.5e12, 64e9),
    "MI300X": Gpu(1307e12, 192e9),
}


def gpu_hours(flops: float, gpu: str, utilisation: float) -> float:
    """Hours of one `gpu` for `flops` at `utilisation` (0 to 1) of its peak. Raises `SweepError`."""
    if gpu not in GPUS:
        raise SweepError(f"no GPU named '{gpu}'; there are {', '.join(GPUS)}")
    if not 0 < utilisation <= 1:
        raise SweepError(f"utilisation is {utilisation}; give a share of the peak, such as 0.4")
    return flops / (GPUS[gpu].peak_flops_per_second * utilisation) / 3600
