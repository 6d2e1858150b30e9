"""Training on the CPU: fp32, replicas (DP) and divided matrices (TP) over gloo.

megatron-core's data parallelism and optimizers need CUDA; what they do is small enough here to be
done by hand, and costs a single process nothing.
"""

import math
import time
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel import param_is_not_tensor_parallel_duplicate
from torch import Tensor

from plm_scaling.study.cell import Cell
from plm_scaling.train.checkpoint.sharded import set_adamw_steps, sharded_state
from plm_scaling.train.data.batches import Batch
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.engine.base import NOTHING_TO_LEARN, Step, cause_of_skip, is_bad
from plm_scaling.train.engine.optimizer import make_optimizer, set_learning_rate
from plm_scaling.train.evaluate import HeldOut, loss_sums, mean_losses
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_losses


class CpuEngine:
    """Engine of the cpu backend; see `plm_scaling.train.engine.base.Engine`."""

    def __init__(self, cell: Cell, process: Process) -> None:
        self.cell = cell
        self.layout = process.layout
        self.replica = process.data_rank
        self.model = build_model(cell, process.layout)
        # Kept as a list because walking the modules takes 3 % of a small model's step.
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.model, cell)
        self.data_parallel = _DataParallel(self.parameters) if self.layout.data > 1 else None
        self.tensor_parallel = _TensorParallel(self.model) if self.layout.tensor > 1 else None

    def train_step(
        self, batches: list[Batch], learning_rate: float, loss_limit: float = math.inf
    ) -> Step:
        """See `Engine`. The sums are divided by the number of tokens together with the clipping."""
        begin = time.monotonic()
        set_learning_rate(self.optimizer.param_groups, learning_rate)
        if self.data_parallel:
            self.data_parallel.gradients.zero_()
        else:
            self.optimizer.zero_grad(set_to_none=True)
        passes = self._backward(batches)
        self.working = time.monotonic() - begin
        nats, tokens = (sum(part, torch.zeros(())) for part in zip(*passes, strict=True))
        if self.data_parallel:
            nats, tokens = self.data_parallel.add_up(nats, tokens)
        if not tokens:
            return NOTHING_TO_LEARN
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.tensor_parallel:
            nats, norm = self.tensor_parallel.add_up(nats)
        else:
            norm = _norm(gradients)
        loss, gradient_norm = float(nats) / float(tokens), float(norm) / float(tokens)
        if is_bad(loss, gradient_norm, loss_limit):
            named = ((name, p.grad) for name, p in self.model.named_parameters())
            own = [[float(value) for value in part] for part in passes]
            first_row = self.replica * sum(batch.rows for batch in batches)
            cause = cause_of_skip(own, batches[0].rows, first_row, named)
            return Step(loss, gradient_norm, skipped=True, cause=cause)
        shrink = min(1.0, self.cell.gradient_clip / (gradient_norm + 1e-6))
        torch._foreach_mul_(gradients, shrink / float(tokens))
        self.optimizer.step()
        return Step(loss, gradient_norm, skipped=False)

    def _backward(self, batches: list[Batch]) -> list[tuple[Tensor, Tensor]]:
        """Add up the gradients of the summed loss. Returns loss (nats) and tokens of each pass."""
        passes = []
        for batch in batches:
            loss = (model_losses(self.model, batch) * batch.loss_mask).sum()
            loss.backward()
            passes.append((loss.detach(), batch.loss_mask.sum()))
        return passes

    def working_seconds(self) -> float:
        """See `Engine`."""
        return self.working

    @torch.no_grad()
    def held_out_losses(self, held_out: HeldOut) -> dict[str, float]:
        """See `Engine`; each replica takes its share of the batches."""
        n_groups = len(held_out.names)
        sums = torch.zeros(n_groups, 2, dtype=torch.float64)
        for batch, groups in held_out.batches[self.replica :: self.layout.data]:
            sums += loss_sums(model_losses(self.model, batch), batch, groups, n_groups)
        if self.data_parallel:
            dist.all_reduce(sums, group=self.data_parallel.group)
        return mean_losses(held_out, sums)

    def weights_replaced(self) -> None:
        """See `Engine`; the optimizer works on the weights themselves."""

    def sharded_state(self) -> dict[str, Any]:
        """See `Engine`."""
        return sharded_state(self.model, self.optimizer)

    def load_state(self, rest: dict[str, Any]) -> None:
        """See `Engine`."""
        set_adamw_steps(self.optimizer, rest["optimizer"]["step"])


class _DataParallel:
    """Sums over the replicas of the model (DP), in one call per step."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self.group = parallel_state.get_data_parallel_group()
        self.gradients = torch.zeros(sum(p.numel() for p in parameters) + 2)
        begin = 0
        for parameter in parameters:
            end = begin + parameter.numel()
            parameter.grad = self.gradients[begin:end].view_as(parameter)
            begin = end

    def add_up(self, nats: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Add up gradients, loss and tokens over the replicas."""
        self.gradients[-2], self.gradients[-1] = nats, tokens
        dist.all_reduce(self.gradients, group=self.group)
        return self.gradients[-2], self.gradients[-1]


class _TensorParallel:
    """Sums over the processes that share the matrices of a replica (TP)."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.group = parallel_state.get_tensor_model_parallel_group()
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        # Whole in every process, and used by the heads that the process has.
        self.of_heads = [p for name, p in named if "q_layernorm" in name or "k_layernorm" in name]
        self.own = [p for _, p in named if param_is_not_tensor_parallel_duplicate(p)]
        self.is_first = self.group.rank() == 0

    def add_up(self, nats: Tensor) -> tuple[Tensor, Tensor]:
        """Complete the gradients. Returns the loss, the same in all, and the gradient's norm."""
        if self.of_heads:
            gradients = [p.grad for p in self.of_heads if p.grad is not None]
            together = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(together, group=self.group)
            parts = together.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        norm = _norm([p.grad for p in self.own if p.grad is not None])
        sums = torch.stack([nats if self.is_first else torch.zeros(()), norm.square()])
        dist.all_reduce(sums, group=self.group)
        return sums[0], sums[1].sqrt()


def _norm(gradients: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
