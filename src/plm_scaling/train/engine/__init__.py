"""What makes a step: one engine for CPUs, one for GPUs."""
