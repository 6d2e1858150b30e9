"""What models are good for: scores of trained cells and public models on benchmarks."""

STAGE_VERSION = 1
