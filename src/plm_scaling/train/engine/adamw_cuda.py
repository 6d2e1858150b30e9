"""PyTorch's AdamW under megatron-core's distributed optimizer, where there is no FusedAdam.

megatron-core 0.16.1 saves and resumes the fused optimizers of Transformer Engine and Apex, which
keep one count of steps per group. PyTorch's AdamW keeps one per parameter, with which it neither
saves before the first step nor loads: it wants the counts among the tensors of the checkpoint.
Here they are made before they are asked for, and left alone while tensors are loaded.
"""

from functools import partial
from typing import Any

import torch
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from torch import Tensor

TENSORS = ("param", "exp_avg", "exp_avg_sq")


def make_resumable(distributed: DistributedOptimizer) -> None:
    """Prepare an optimizer just made; nothing to do for a fused one."""
    adamw = distributed.optimizer
    if not isinstance(adamw, torch.optim.AdamW):
        return
    for group in adamw.param_groups:
        group["fused"] = True  # one kernel for all parameters
    distributed._set_main_param_and_optimizer_states = partial(_take, distributed)


def moments_ready(distributed: DistributedOptimizer) -> None:
    """Give every parameter moments, zero if there are none yet, and a count of steps of its own."""
    adamw = distributed.optimizer
    if not isinstance(adamw, torch.optim.AdamW):
        return
    for group in adamw.param_groups:
        for parameter in group["params"]:
            own = adamw.state[parameter]
            if not own:
                own["step"] = torch.zeros((), device=parameter.device)
                own.update({name: torch.zeros_like(parameter) for name in TENSORS[1:]})
            own["step"] = own["step"].clone()  # megatron-core loads one count into all of them


@torch.no_grad()
def _take(distributed: DistributedOptimizer, parameter: Tensor, tensors: dict[str, Any]) -> None:
    """Copy what was read for this process's part of a parameter."""
    own = distributed._get_main_param_and_optimizer_states(parameter)
    for name in TENSORS:
        own[name].copy_(tensors[name])
