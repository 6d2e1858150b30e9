"""megatron-core as a process that trains wants it: at once, and without a word."""

import warnings
from collections.abc import Callable
from typing import Any

import torch


def import_megatron() -> None:
    """Import megatron.core; to be called before anything else does, because only the first counts.

    Its decorators hand functions to PyTorch's compiler, none of which is used here; to load the
    compiler is a third of the CPU time in which a process starts. Its warnings, that it finds no
    CUDA library, are not shown.
    """
    warnings.filterwarnings("ignore", module="megatron")
    compile_function = torch.compile
    setattr(torch, "compile", _as_it_is)  # noqa: B010
    try:
        import megatron.core  # noqa: F401
    finally:
        setattr(torch, "compile", compile_function)  # noqa: B010


def _as_it_is(function: Callable[..., Any] | None = None, **unused: object) -> Callable[..., Any]:
    return _as_it_is if function is None else function
