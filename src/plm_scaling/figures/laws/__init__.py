"""Figures of laws, one module each; `study/laws.py` says which law has which."""
