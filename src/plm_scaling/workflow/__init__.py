"""Snakemake started for a study, what its terminal says, and what a run will take."""
