"""Elementwise parts of a layer: compiled into single kernels on CUDA, and on the CPU with gradients
that are written out.
"""

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from plm_scaling.train.model.functions import GatedActivation

logger = logging.getLogger("plm_scaling")


class Compiled:
    """A function that torch compiles when it is first called; as it is if that cannot be done.

    For the number of tokens that it sees first, that of a training pass, and once more for any
    number (evaluations); each on its own would soon be more than torch compiles. Compiling needs
    Triton and a C compiler. Without them results are the same and a step takes longer, which is
    said once in the log.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.plain = function
        self.function: Callable[..., Any] | None = None  # to load the compiler takes seconds

    def __call__(self, *arguments: Any) -> Any:
        if self.function is None:
            compiles = importlib.util.find_spec("triton") is not None
            self.function = torch.compile(self.plain) if compiles else self.plain
        try:
            return self.function(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            if self.function is self.plain:
                raise
            logger.warning("%s is not compiled, steps are slower: %s", self.plain.__name__, error)
            self.function = self.plain
            return self.function(*arguments)


def gated(gate_up: Tensor, activation: str) -> Tensor:
    """act(gate)·up of [gate, up] in the last dimension; `activation` is gelu (by erf) or silu."""
    function = _gated if gate_up.is_cuda else GatedActivation.apply
    result: Tensor = function(gate_up, activation)
    return result


@Compiled
def _gated(gate_up: Tensor, activation: str) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return (gelu(gate) if activation == "gelu" else silu(gate)) * up


@Compiled
def apply_rotary(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [tokens, heads, channels] of [tokens, heads, 3, channels], the first
    two rotated by the rotary angles (see `Segments.rotary`), the last a copy: a view would keep all
    of `qkv` in memory.
    """
    qk = qkv[:, :, :2]
    first, second = qk.chunk(2, -1)
    q, k = (qk * cos + torch.cat((-second, first), -1) * sin).unbind(2)
    return q, k, qkv[:, :, 2].clone()
