"""Minima over size at equal compute, and the power laws through them."""
