"""Batches of packed rows, their masks, and how they reach a process."""
