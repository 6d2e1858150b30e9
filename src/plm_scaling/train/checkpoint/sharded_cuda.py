"""megatron-core's distributed optimizer as sharded tensors.

Each replica owns a flat range of every parameter: the weights in fp32, and their moments. It writes
and reads just those, as rectangles of the whole matrices: nothing is gathered, and all processes
write. The tensors are those of the other engine's checkpoints.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from torch import Tensor
from torch.nn import Module

from plm_scaling.train.checkpoint.sharded import (
    MOMENTS,
    STATE,
    adamw_steps,
    moments_of,
    sharded_model,
)


def sharded_distributed(optimizer: DistributedOptimizer, model: Module) -> dict[str, Any]:
    """What this process owns of weights and moments, as views, and the number of steps."""
    weights: dict[str, list[ShardedTensor]] = {}
    moments: dict[str, Any] = {moment: {} for moment in MOMENTS}
    whole = sharded_model(model)
    for name, parameter in model.named_parameters():
        if parameter not in optimizer.model_param_gbuf_map:
            continue  # other replicas have it
        begin = optimizer._get_model_param_range_map(parameter)["param"].start
        main = optimizer._get_main_param_and_optimizer_states(parameter)["param"]
        weights[name] = list(_rectangles(whole[name], main, begin))
        for moment, values in moments_of(optimizer.optimizer, main).items():
            moments[moment][name] = [
                replace(part, key=f"{STATE}{moment}.{part.key}")
                for part in _rectangles(whole[name], values, begin)
            ]
    return {"model": weights, "optimizer": {**moments, "step": adamw_steps(optimizer.optimizer)}}


def _rectangles(
    whole: ShardedTensor | ShardedTensorFactory, values: Tensor, begin: int
) -> Iterator[ShardedTensor]:
    """Flat `values` from place `begin` of a parameter, as parts of the whole matrix.

    `whole` is the parameter: a block of the matrix, or two, the rows of the gate and those that it
    gates. In each block the values are at most the rest of a row, whole rows, and the beginning of
    a row.
    """
    for block in whole.build() if isinstance(whole, ShardedTensorFactory) else [whole]:
        size, columns = block.data.numel(), block.local_shape[-1]
        own = values.detach()[max(0, -begin) : max(0, size - begin)]
        place = max(0, begin)
        while len(own):
            row, column = divmod(place, columns)
            width = min(columns - column, len(own))
            shape = (len(own) // columns if width == columns else 1, width)
            taken = shape[0] * width
            yield _part(block, own[:taken], (row, column), shape)
            own, place = own[taken:], place + taken
        begin -= size


def _part(
    block: ShardedTensor, values: Tensor, place: tuple[int, int], shape: tuple[int, int]
) -> ShardedTensor:
    """A rectangle of a block of rows and columns; of a vector, which is one row."""
    axes = len(block.local_shape)
    offset = [*block.global_offset]
    for axis, begin in enumerate(place[-axes:], len(offset) - axes):
        offset[axis] += begin
    stage, tensor, _ = block.replica_id
    return replace(
        block,
        data=values.view(shape[-axes:]),
        dtype=values.dtype,
        local_shape=shape[-axes:],
        global_offset=tuple(offset),
        axis_fragmentations=None,
        replica_id=(stage, tensor, 0),  # no other replica has it
    )
