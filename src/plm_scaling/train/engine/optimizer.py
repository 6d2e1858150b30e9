"""AdamW and its learning rate."""

import math
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

import torch

from plm_scaling.study.cell import Cell
from plm_scaling.study.mup import scales_of

LAYER_MATRICES = "*.linear_*.weight"  # names of the parameters that muP scales with the width


def make_optimizer(model: torch.nn.Module, cell: Cell) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as in Megatron-LM: not on biases and LayerNorm.

    Its groups have megatron-core's names for their share of learning rate and weight decay:
    `lr_mult` and `wd_mult`.
    """
    scales = scales_of(cell)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        shares = (1.0, 1.0 if parameter.ndim > 1 else 0.0)
        if fnmatch(name, LAYER_MATRICES):
            shares = (scales.matrix_rate, scales.matrix_decay)
        if parameter.requires_grad:
            groups.setdefault(shares, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": parameters, "lr_mult": rate, "wd_mult": decay}
            for (rate, decay), parameters in groups.items()
        ],
        lr=cell.peak_learning_rate,
        betas=(cell.beta1, cell.beta2),
        fused=True,
    )
    set_weight_decay(optimizer.param_groups, cell)
    return optimizer


def set_weight_decay(groups: Iterable[dict[str, Any]], cell: Cell) -> None:
    """The weight decay of AdamW's groups."""
    for group in groups:
        group["weight_decay"] = cell.weight_decay * group["wd_mult"]


def set_learning_rate(groups: Iterable[dict[str, Any]], rate: float) -> None:
    """The learning rate of AdamW's groups, `rate` being that of embeddings and norms."""
    for group in groups:
        group["lr"] = rate * group["lr_mult"]


def learning_rate(step: int, cell: Cell) -> float:
    """Learning rate of optimizer step `step` (the first is 1): linear warm-up, then cosine decay.

    The cosine ends at `final_learning_rate` at the cell's last step, so that every cell is fully
    decayed over its own budget.
    """
    if step <= cell.warmup_steps:
        return cell.peak_learning_rate * step / cell.warmup_steps
    decay_steps = max(1, cell.steps - cell.warmup_steps)
    share = (step - cell.warmup_steps) / decay_steps
    span = cell.peak_learning_rate - cell.final_learning_rate
    return cell.final_learning_rate + 0.5 * span * (1 + math.cos(math.pi * share))
