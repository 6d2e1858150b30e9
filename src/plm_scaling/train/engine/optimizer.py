"""AdamW and its learning rate."""

import math

import torch

from plm_scaling.study.cell import Cell


def make_optimizer(model: torch.nn.Module, cell: Cell) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as in Megatron-LM: not on biases and LayerNorm."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": cell.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=cell.peak_learning_rate, betas=(cell.beta1, cell.beta2), fused=True
    )


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
