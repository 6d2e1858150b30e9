"""Model and optimizer as megatron-core's sharded tensors.

Each says which part of the whole tensor this process holds, so that a checkpoint written in one
layout is read in any other. Names and shapes are megatron-core's own: `decoder.layers.…` with the
layers as first axis, `optimizer.state.exp_avg.…` for the moments.
"""

from dataclasses import replace
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import (
    ShardedObject,
    ShardedTensor,
    is_main_replica,
)
from megatron.core.dist_checkpointing.optimizer import make_sharded_optimizer_tensor
from megatron.core.dist_checkpointing.strategies.checkpointable import (
    CheckpointableShardedTensor,
    LocalShardsContainer,
)
from torch import Tensor
from torch.nn import Module

EXTRA_STATE = "_extra_state"  # of Transformer Engine's fp8 layers: empty, and no weights
STATE = "optimizer.state."  # and the moment, before the name of a weight
MOMENTS = ("exp_avg", "exp_avg_sq")


def sharded_model(model: Module) -> dict[str, Any]:
    """The weights of a `GPTModel` (not of its data-parallel wrapper) by parameter name."""
    state: dict[str, Any] = model.sharded_state_dict()  # type: ignore[operator]
    return {
        name: tensor
        for name, tensor in state.items()
        if not (name.endswith(EXTRA_STATE) and isinstance(tensor, ShardedObject))
    }


def load_model(model: Module, loaded: dict[str, Any]) -> None:
    """Take over the weights that were read for `sharded_model(model)`."""
    missing, unexpected = model.load_state_dict(loaded, strict=False)
    wrong = [name for name in (*missing, *unexpected) if not name.endswith(EXTRA_STATE)]
    if wrong:
        raise KeyError(f"weights that do not fit the model: {', '.join(wrong)}")


def sharded_adamw(
    optimizer: torch.optim.AdamW, model: Module, weights: dict[str, Any]
) -> dict[str, Any]:
    """The moments and the number of steps of AdamW; `weights` is `sharded_model(model)`.

    The moments are divided as the weights are.
    """
    moments: dict[str, Any] = {moment: {} for moment in MOMENTS}
    for name, parameter in model.named_parameters():
        for moment, values in moments_of(optimizer, parameter).items():
            moments[moment][name] = make_sharded_optimizer_tensor(
                weights[name], values, f"{STATE}{moment}"
            )
    return {**moments, "step": adamw_steps(optimizer)}


@torch.no_grad()
def load_adamw(optimizer: torch.optim.AdamW, model: Module, loaded: dict[str, Any]) -> None:
    """Take over what was read for `sharded_adamw`."""
    set_adamw_steps(optimizer, loaded["step"])
    for name, parameter in model.named_parameters():
        for moment, values in moments_of(optimizer, parameter).items():
            values.copy_(loaded[moment][name])


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
