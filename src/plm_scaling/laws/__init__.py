"""Scaling laws fitted to a table of runs, each with intervals and a statement of its health.

From Python (docs/python.md): `from plm_scaling.laws import fit_runs, fit_parametric` and so on;
tables, or arrays, lists and pandas Series (taken by position) in, a `LawResult` out.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when a fit changes its numbers.
"""

from importlib import import_module
from typing import Any

from plm_scaling.study.laws import LAWS

STAGE_VERSION = 8

_PUBLIC = {f"fit_{name}": law.module for name, law in LAWS.items()}
_PUBLIC |= {
    "fit_runs": "fit",
    "read_table": "fit",
    "read_law": "result",
    "write_law": "result",
    "Settings": "settings",
}
__all__ = ["STAGE_VERSION", "law_module", *_PUBLIC]


def law_module(name: str) -> Any:
    """The module of a law, imported now: the Snakefile reads STAGE_VERSION and nothing heavy."""
    return import_module(f"{__name__}.{LAWS[name].module}")


def __getattr__(name: str) -> Any:
    """Import a fit when it is asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
