"""Checkpoints that any layout reads, whole or not at all."""
