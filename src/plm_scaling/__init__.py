"""From protein sequences to scaling laws of protein language models."""

__version__ = "0.1.0"
