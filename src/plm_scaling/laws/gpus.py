"""Peak rates of GPUs, for the cost of a plan."""

from plm_scaling.errors import LawError

# Dense 16-bit matrix FLOP/s without sparsity, from the makers' data sheets (bf16; V100: fp16).
PEAK_FLOPS_PER_SECOND = {
    "V100": 125e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX4090": 165e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "MI250X": 383e12,
    "MI300X": 1307e12,
}


def gpu_hours(flops: float, gpu: str, utilisation: float) -> float:
    """Hours of one `gpu` for `flops` at `utilisation` (0 to 1) of its peak.

    Raises LawError for a GPU that is not in the table or a utilisation that is no share.
    """
    if gpu not in PEAK_FLOPS_PER_SECOND:
        raise LawError(f"no GPU named '{gpu}'; there are {', '.join(PEAK_FLOPS_PER_SECOND)}")
    if not 0 < utilisation <= 1:
        raise LawError(f"utilisation is {utilisation}; give a share of the peak, such as 0.4")
    return flops / (PEAK_FLOPS_PER_SECOND[gpu] * utilisation) / 3600
