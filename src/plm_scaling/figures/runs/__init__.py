"""Figures of runs: their curves, comparisons at equal compute, what was forecast of them."""
