"""Model and optimizer as megatron-core's sharded tensors.

Each says which part of the whole tensor this process has, so that a checkpoint written in one
layout is read in any other. They are views: what is read is in its place. Names and shapes are
megatron-core's own: `decoder.layers.…` with the layers as first axis, `optimizer.state.exp_avg.…`
for the moments.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import (
    ShardedTensor,
    ShardedTensorFactory,
    is_main_replica,
)
from megatron.core.dist_checkpointing.strategies.checkpointable import (
    CheckpointableShardedTensor,
    LocalShardsContainer,
)
from torch import Tensor
from torch.nn import Module, Parameter

MOMENTS = ("exp_avg", "exp_avg_sq")
FFN_AXES = {"mlp.linear_fc1.weight": 0, "mlp.linear_fc1.bias": 0, "mlp.linear_fc2.weight": 1}

Owned = Mapping[Parameter, tuple[int, Tensor]]


def sharded_model(model: Module) -> dict[str, list[ShardedTensor]]:
    """The parameters of a `SequenceModel` by name, without their padding.

    Each is one block of the whole matrix, or two: rows of the gate, and those that it gates.
    """
    whole: dict[str, Any] = model.sharded_state_dict()  # type: ignore[operator]
    found = {}
    for name, _ in model.named_parameters():
        own = whole[name]
        blocks = own.build() if isinstance(own, ShardedTensorFactory) else [own]
        blocks = [_without_padding(name, block, model) for block in blocks]
        found[name] = [block for block in blocks if block.data.numel()]
    return found


def sharded_state(
    model: Module, adamw: torch.optim.Optimizer, owned: Owned | None = None
) -> dict[str, Any]:
    """Weights, moments, and the number of steps of AdamW.

    `owned` is given where replicas divide the optimizer among them: of each parameter that this one
    has a part of, where the part begins and its weights, flat and in fp32, which have moments of
    the same form. Nothing is gathered: each part is some rectangles of the whole matrix.
    """
    tensors: dict[str, Any] = {kind: {} for kind in ("model", *MOMENTS)}
    for name, blocks in sharded_model(model).items():
        parameter = model.get_parameter(name)
        main: Tensor
        if owned is None:
            begin, main = 0, parameter
        elif parameter in owned:
            begin, main = owned[parameter]
        else:
            continue
        if owned is not None:  # no other replica has it
            blocks = [replace(block, replica_id=(*block.replica_id[:2], 0)) for block in blocks]
        for kind, values in {"model": main, **moments_of(adamw, main)}.items():
            prefix = "" if kind == "model" else f"optimizer.state.{kind}."
            tensors[kind][name] = [
                replace(part, key=f"{prefix}{part.key}")
                for block in blocks
                for part in _rectangles(block, parameter, values.detach().view(-1), begin)
            ]
    return {"model": tensors.pop("model"), "optimizer": {**tensors, "step": adamw_steps(adamw)}}


def _without_padding(name: str, block: ShardedTensor, model: Any) -> ShardedTensor:
    """A block as it would be in a model whose MLP is no wider than it has to be."""
    ffn, allocated = model.ffn, model.config.ffn_hidden_size
    axes = [axis for end, axis in FFN_AXES.items() if name.endswith(end)]
    if ffn == allocated or not axes:
        return block
    (axis,) = axes
    tensor = model.config.tensor_model_parallel_size
    shape, offset = [*block.global_shape], [*block.global_offset]
    along = axis + block.prepend_axis_num
    half, place = divmod(offset[along], allocated)
    share = -(-ffn // tensor)  # of a process
    begin = place // (allocated // tensor) * share
    offset[along] = half * ffn + begin
    shape[along] = shape[along] // allocated * ffn
    data = block.data.narrow(axis, 0, max(0, min(share, ffn - begin)))
    return replace(
        block,
        data=data,
        local_shape=tuple(data.shape),
        global_shape=tuple(shape),
        global_offset=tuple(offset),
        axis_fragmentations=None,
    )


def _rectangles(
    block: ShardedTensor, parameter: Parameter, values: Tensor, begin: int
) -> Iterator[ShardedTensor]:
    """What of a parameter's flat `values`, from place `begin`, lies in one of its blocks.

    That is at most the rest of a row, whole rows, and the beginning of a row; a vector is a row.
    """
    axes = block.data.ndim
    rows, columns = (1, *block.local_shape)[-2:]
    step = block.data.stride(0) if axes == 2 else columns  # from row to row, over the padding
    start = block.data.storage_offset() - parameter.storage_offset()
    place, end = max(begin, start), min(begin + len(values), start + rows * step)
    while place < end:
        row, column = divmod(place - start, step)
        width = min(step - column, end - place)
        height = (end - place) // step if width == step else 1
        size = height * width
        part = values[place - begin :][:size].view(height, width)[:, : max(0, columns - column)]
        place += size
        if part.numel():
            offset = [*block.global_offset]
            offset[-1] += column
            if axes == 2:
                offset[-2] += row
            data = part if axes == 2 else part[0]
            yield replace(
                block,
                data=data,
                dtype=data.dtype,
                local_shape=tuple(data.shape),
                global_offset=tuple(offset),
                axis_fragmentations=None,
            )


def moments_of(adamw: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Both moments of a parameter; zero before the first step, so that there is something to read
    into."""
    own = adamw.state[parameter]
    if not own:
        if isinstance(adamw, torch.optim.AdamW):
            own["step"] = torch.zeros((), device=parameter.device)
        own.update({moment: torch.zeros_like(parameter) for moment in MOMENTS})
    return {moment: own[moment] for moment in MOMENTS}


def adamw_steps(adamw: torch.optim.Optimizer) -> int:
    """Steps made; all parameters are updated in each."""
    return max((int(own.get("step", 0)) for own in _counts(adamw)), default=0)


def set_adamw_steps(adamw: torch.optim.Optimizer, steps: int) -> None:
    """Inverse of `adamw_steps`, where the moments are there."""
    for own in _counts(adamw):
        own["step"] = 0 * own.get("step", 0) + steps  # a tensor stays one


def _counts(adamw: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What counts steps: PyTorch's AdamW for each parameter, Transformer Engine's for a group."""
    return [*adamw.state.values()] if isinstance(adamw, torch.optim.AdamW) else adamw.param_groups


def state_bytes(state: dict[str, Any]) -> int:
    """Bytes of the tensors that this process is to write: of each replicated one, one replica."""
    return sum(
        value.data.nbytes
        for value in nested_values(state)
        if isinstance(getattr(value, "data", None), Tensor) and is_main_replica(value.replica_id)
    )


def torch_tensors(parts: list[ShardedTensor]) -> dict[str, Any]:
    """As `torch.distributed.checkpoint` takes them, by name; their data is shared.

    megatron-core leaves the axis of the layers out of each layer's data and then goes through a
    class that torch gives up. With that axis, of length 1, the files are the same.
    """
    by_key: dict[str, list[CheckpointableShardedTensor]] = {}
    for part in parts:
        shape = (1,) * part.prepend_axis_num + tuple(part.local_shape)
        data = part.data.detach().view(shape)
        whole = replace(part, data=data, local_shape=shape, prepend_axis_num=0)
        by_key.setdefault(part.key, []).append(CheckpointableShardedTensor.from_sh_ten(whole))
    return {
        key: found[0] if len(found) == 1 else LocalShardsContainer(found)
        for key, found in by_key.items()
    }
