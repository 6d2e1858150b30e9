"""Slurm: what a site allows, what its jobs ask for, and a check of a site that is new."""
