"""Readers of the formats that sources come in."""
