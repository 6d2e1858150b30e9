"""Training of one cell with megatron-core."""

STAGE_VERSION = 2  # raise when the same cell would train to another result
