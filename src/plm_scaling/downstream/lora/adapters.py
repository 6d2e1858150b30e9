"""Low-rank adapters (LoRA; Hu et al. 2022) beside the linear layers of a model's blocks.

A layer W x + b becomes W x + b + (alpha / rank) · B A x. A is drawn, B begins as 0: before the
first step the model is what it was. Only A and B are trained, in float32.
"""

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from plm_scaling.config.downstream import Lora

_IN_A_BLOCK = re.compile(r"\.\d+\.")  # decoder.layers.3.mlp.linear_fc1, transformer.h.3.attn.…


class Adapter(nn.Module):
    """B A x · alpha / rank for a layer with the matrix `weight` [outputs, inputs]."""

    def __init__(self, weight: Tensor, lora: Lora, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        first = torch.empty(lora.rank, inputs)
        first.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
        self.down = nn.Parameter(first.to(weight.device))
        self.up = nn.Parameter(torch.zeros(outputs, lora.rank, device=weight.device))
        self.scale = lora.alpha / lora.rank

    def forward(self, x: Tensor) -> Tensor:
        inner = linear(x, self.down.to(x.dtype))
        return self.scale * linear(inner, self.up.to(x.dtype))


@contextmanager
def adapted(network: nn.Module, lora: Lora, seed: int) -> Iterator[list[nn.Parameter]]:
    """Inside the block the network has adapters, whose parameters are yielded; afterwards it is as
    before. Its own weights are left alone, also their `requires_grad`: PyTorch takes another kernel
    for matrices without gradients, which rounds differently."""
    generator = torch.Generator().manual_seed(seed)
    adapters = []
    with ExitStack() as stack:
        for module in linear_layers(network):
            adapters.append(Adapter(module.weight, lora, generator))
            stack.callback(module.register_forward_hook(_adding(adapters[-1])).remove)
        yield [own for adapter in adapters for own in adapter.parameters()]


def linear_layers(network: nn.Module) -> list[Any]:
    """The modules of the blocks that have a matrix: queries, keys and values, the projection of
    attention, and both of the MLP, as in the study's scripts."""
    return [
        module
        for name, module in network.named_modules()
        if _IN_A_BLOCK.search(f".{name}")
        and isinstance(weight := getattr(module, "weight", None), Tensor)
        and weight.dim() == 2
    ]


def _adding(adapter: Adapter) -> Any:
    def add(module: Any, inputs: tuple[Tensor, ...], output: Any) -> Any:
        own = adapter(inputs[0])
        # Layers of megatron-core give a pair with a bias that is still to be added.
        return (output[0] + own, *output[1:]) if isinstance(output, tuple) else output + own

    return add
