"""Models from megatron-core's modules: layers, attention, initial weights, losses."""
