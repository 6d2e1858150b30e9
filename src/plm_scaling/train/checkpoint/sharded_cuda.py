"""megatron-core's distributed optimizer as sharded tensors.

It keeps parameters one behind the other in buffers, cut into buckets whose ends are padded.
megatron-core 0.16.1 gathers a buffer without that padding, and then cuts the parameters out at
offsets that count it: all that come after a padded bucket would be written with others' values.
Buckets are many where there are replicas (one for some 40M parameters) and pipeline stages (the
embedding has its own).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensorFactory
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from torch import Tensor
from torch.nn import Module

from plm_scaling.train.checkpoint.record import DamageError
from plm_scaling.train.distributed.collective import everywhere

# Tensors of the parameters' shapes, read in any layout.
FORMAT = {"distrib_optim_sharding_type": "fully_reshardable"}
ROUNDING = 1e-2  # relative, above that of bf16


def sharded_optimizer(
    optimizer: MegatronOptimizer, weights: dict[str, Any], loading: bool
) -> dict[str, Any]:
    """fp32 weights, moments and count of steps; `weights` is `sharded_model` of the model."""
    with ExitStack() as stack:
        for distributed in optimizer.chained_optimizers:
            stack.enter_context(_offsets_without_padding(distributed))
        state: dict[str, Any] = optimizer.sharded_state_dict(
            weights, is_loading=loading, metadata=FORMAT
        )
    for part in nested_values(state) if loading else ():
        if isinstance(part, ShardedTensorFactory):  # of two halves, which are views of its data
            part.merge_fn = partial(_read_in_place, part.data)
    return state


def _read_in_place(whole: Tensor, halves: Any) -> Tensor:
    """Instead of a copy, of nearly half of the state."""
    return whole


@contextmanager
def _offsets_without_padding(distributed: DistributedOptimizer) -> Iterator[None]:
    """Within the block, a parameter's place in its buffer is that in what is gathered of it."""
    places = [buffer.param_index_map for buffer in distributed.buffers]
    try:
        for buffer in distributed.buffers:
            padding = [
                bucket.grad_data.numel() - bucket.numel_unpadded for bucket in buffer.buckets
            ]
            before = list(accumulate(padding, initial=0))
            buffer.param_index_map = {
                parameter: (start - before[bucket], end - before[bucket], bucket)
                for parameter, (start, end, bucket) in buffer.param_index_map.items()
            }
        yield
    finally:
        for buffer, place in zip(distributed.buffers, places, strict=True):
            buffer.param_index_map = place


@torch.no_grad()
def check_weights(optimizer: MegatronOptimizer, model: Module, state: dict[str, Any]) -> None:
    """Raise `DamageError` if in a state that was read the optimizer's weights are not the model's.

    So they are where an earlier version mixed up the optimizer's tensors; the moments went the
    same way. Collective.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    (distributed,) = optimizer.chained_optimizers
    own = state["optimizer"]["param_state"]  # by their order in the buffers

    def foreign() -> str:
        """The first parameter of which the optimizer has others' values."""
        parameters = [p for buffer in distributed.buffers for p in buffer.param_index_map]
        for number, name in enumerate(names[parameter] for parameter in parameters):
            weights = state["model"][name].float().cpu()
            if not torch.allclose(own[number]["param"], weights, rtol=ROUNDING):
                return name
        return ""

    for name in everywhere(foreign):
        if name:
            raise DamageError(
                f"the optimizer's copy of {name} is not the model's: an earlier version mixed up "
                "the optimizer's tensors where several replicas or pipeline stages trained"
            )
