"""Training on GPUs by megatron-core: DP with overlap, TP, PP, and the distributed optimizer."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.optimizer import (
    OptimizerConfig,
    ParamGroupOverride,
    ParamKey,
    get_megatron_optimizer,
    get_standard_config_overrides,
)
from megatron.core.pipeline_parallel import get_forward_backward_func
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from plm_scaling.study.cell import Cell
from plm_scaling.study.mup import scales_of
from plm_scaling.train.checkpoint.sharded import set_adamw_steps, sharded_state
from plm_scaling.train.data.batches import Batch
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.engine.base import NOTHING_TO_LEARN, Step, cause_of_skip, is_bad
from plm_scaling.train.engine.optimizer import (
    LAYER_MATRICES,
    set_learning_rate,
    set_weight_decay,
)
from plm_scaling.train.evaluate import HeldOut, loss_sums, mean_losses
from plm_scaling.train.model.builder import build_model
from plm_scaling.train.model.losses import model_output, output_losses


class CudaEngine:
    """Engine of the cuda backend; see `plm_scaling.train.engine.base.Engine`."""

    def __init__(self, cell: Cell, process: Process) -> None:
        self.cell = cell
        self.process = process
        self.model = build_model(cell, process.layout, device=process.device)
        several = process.layout.data > 1
        config = self.model.config
        config.calculate_per_token_loss = True  # gradients are divided by the tokens of all ranks
        config.finalize_model_grads_func = self._finalize
        self.ddp = DistributedDataParallel(
            config,
            DistributedDataParallelConfig(
                grad_reduce_in_fp32=True,
                overlap_grad_reduce=several,
                overlap_param_gather=several,
                use_distributed_optimizer=True,
            ),
            self.model,
        )
        config.no_sync_func = self.ddp.no_sync
        self.optimizer = _make_optimizer(cell, self.ddp)
        self.forward_backward = get_forward_backward_func()
        self.begun, self.worked = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # Losses are known to the last pipeline stage, to all its tensor processes alike.
        self.knows_losses = (
            parallel_state.is_pipeline_last_stage()
            and parallel_state.get_tensor_model_parallel_rank() == 0
        )

    def train_step(
        self, batches: list[Batch], learning_rate: float, loss_limit: float = math.inf
    ) -> Step:
        """See `Engine`."""
        set_learning_rate(self.optimizer.param_groups, learning_rate)
        self.ddp.zero_grad_buffer()
        self.optimizer.zero_grad()
        sums: list[Tensor] = self.forward_backward(
            forward_step_func=self._forward,
            data_iterator=iter(self._moved(batches)),
            model=self.ddp,
            num_microbatches=len(batches),
            seq_length=batches[0].inputs.numel(),  # a batch is one list of tokens
            micro_batch_size=1,
        )
        self.optimizer.prepare_grads()
        # megatron-core's own norm and clipping wait for the GPU at each parameter where there is
        # no Transformer Engine; here nothing is read but these three numbers.
        own = torch.cat((self._own(sums, 2), self._squared_gradients()))
        nats, tokens, squared = self._over_all(own).tolist()
        if not tokens:
            return NOTHING_TO_LEARN
        loss, gradient_norm = nats / tokens, math.sqrt(squared)
        if is_bad(loss, gradient_norm, loss_limit):
            named = ((name, p.main_grad) for name, p in self.model.named_parameters())
            passes = [part.tolist() for part in sums] if self.knows_losses else []
            first_row = self.process.data_rank * sum(batch.rows for batch in batches)
            cause = cause_of_skip(passes, batches[0].rows, first_row, named)
            return Step(loss, gradient_norm, skipped=True, cause=cause)
        shrink = self.cell.gradient_clip / (gradient_norm + 1e-6)
        if shrink < 1:
            gradients = [p.grad for p in self.optimizer.get_parameters() if p.grad is not None]
            torch._foreach_mul_(gradients, shrink)
        self.optimizer.step_with_ready_grads()
        return Step(loss, gradient_norm, skipped=False)

    def working_seconds(self) -> float:
        """See `Engine`: of the last backward pass, since forward passes wait for the weights that
        the other replicas updated. The step has waited for both events."""
        return float(self.begun.elapsed_time(self.worked)) / 1000

    def _forward(self, batches: Iterator[Batch], model: Module) -> tuple[Tensor, Any]:
        """`_training_step`, noting that the backward pass begins."""
        result = _training_step(batches, model)
        self.begun.record()
        return result

    def _finalize(self, *args: Any, **options: Any) -> None:
        """Note that the backward pass is over; then wait for the other replicas' gradients."""
        self.worked.record()
        finalize_model_grads(*args, **options)

    @torch.no_grad()
    def held_out_losses(self, held_out: HeldOut) -> dict[str, float]:
        """See `Engine`; each replica takes its share of the batches."""
        self._gather_weights()
        self.model.eval()
        n_groups = len(held_out.names)
        sums = []
        for batch, groups in held_out.batches[self.process.data_rank :: self.process.layout.data]:
            sums += self.forward_backward(
                forward_step_func=partial(_held_out_step, groups=groups, n_groups=n_groups),
                data_iterator=iter(self._moved([batch])),
                model=self.model,
                num_microbatches=1,
                seq_length=batch.inputs.numel(),
                micro_batch_size=1,
                forward_only=True,
                collect_non_loss_data=True,
            )
        self.model.train()
        return mean_losses(held_out, self._over_all(self._own(sums, n_groups, 2)))

    def weights_replaced(self) -> None:
        """See `Engine`."""
        self.optimizer.reload_model_params()

    def sharded_state(self) -> dict[str, Any]:
        """See `Engine`; of the weights that is the optimizer's copy, in fp32."""
        (distributed,) = self.optimizer.chained_optimizers
        owned = {
            parameter: (
                distributed._get_model_param_range_map(parameter)["param"].start,
                distributed._get_main_param_and_optimizer_states(parameter)["param"],
            )
            for parameter in distributed.model_param_gbuf_map
        }
        return sharded_state(self.model, distributed.optimizer, owned)

    @torch.no_grad()
    def load_state(self, rest: dict[str, Any]) -> None:
        """See `Engine`."""
        (distributed,) = self.optimizer.chained_optimizers
        set_adamw_steps(distributed.optimizer, rest["optimizer"]["step"])
        distributed._copy_main_params_to_model_params()
        self._gather_weights()

    def _moved(self, batches: list[Batch]) -> list[Batch]:
        return [batch.to(self.process.device) for batch in batches]

    def _gather_weights(self) -> None:
        """Make whole weights of the parts that the replicas updated, before anything reads them
        but a training step, which does it on its way."""
        if self.ddp.ddp_config.overlap_param_gather:
            self.ddp.start_param_sync(force_sync=True)

    def _own(self, sums: list[Tensor], *shape: int) -> Tensor:
        """The sum over this replica's micro-batches; 0 in all but one of its processes."""
        total = torch.zeros(*shape, dtype=torch.float64, device=self.process.device)
        if self.knows_losses:
            for part in sums:
                total += part
        return total

    def _squared_gradients(self) -> Tensor:
        """Sum of the squares of this process's share of the gradients, float64 (1,)."""
        (distributed,) = self.optimizer.chained_optimizers
        gradients = distributed.get_main_grads_for_grad_norm()
        total = torch.zeros(1, dtype=torch.float64, device=self.process.device)
        if gradients:
            total += torch.stack([*torch._foreach_norm(gradients)]).double().square().sum()
        return total

    def _over_all(self, own: Tensor) -> Tensor:
        """The sum over all processes, the same in each of them."""
        if self.process.layout.processes > 1:
            dist.all_reduce(own)
        return own


def _make_optimizer(cell: Cell, ddp: DistributedDataParallel) -> Any:
    """megatron-core's distributed AdamW, as `plm_scaling.train.engine.optimizer.make_optimizer`."""
    config = OptimizerConfig(
        optimizer="adam",
        lr=cell.peak_learning_rate,
        min_lr=cell.final_learning_rate,
        weight_decay=cell.weight_decay,
        adam_beta1=cell.beta1,
        adam_beta2=cell.beta2,
        clip_grad=cell.gradient_clip,
        bf16=cell.precision == "bf16",
        params_dtype=torch.bfloat16 if cell.precision == "bf16" else torch.float32,
        use_distributed_optimizer=True,
        overlap_param_gather=ddp.ddp_config.overlap_param_gather,
    )
    shares = get_standard_config_overrides(config)  # no weight decay of biases and norms
    if cell.mup_base_width:
        scales = scales_of(cell)
        shares[ParamKey(name=LAYER_MATRICES)] = ParamGroupOverride(
            lr_mult=scales.matrix_rate, wd_mult=scales.matrix_decay
        )
    optimizer = get_megatron_optimizer(config, [ddp], shares)
    set_weight_decay(optimizer.param_groups, cell)  # megatron-core leaves it to its schedule
    for group in optimizer.param_groups:
        group["fused"] = True  # of PyTorch's AdamW: one kernel for all parameters
    return optimizer


def _training_step(batches: Iterator[Batch], model: Module) -> tuple[Tensor, Any]:
    """Forward pass of one micro-batch, and the function of its output that is its loss."""
    batch = next(batches)

    def loss(output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nats = (output_losses(output, batch) * batch.loss_mask).sum()
        tokens = batch.loss_mask.sum()
        return nats, tokens.to(torch.int), torch.stack([nats.detach(), tokens]).double()

    return model_output(model, batch), loss


def _held_out_step(
    batches: Iterator[Batch], model: Module, groups: NDArray[Any], n_groups: int
) -> tuple[Tensor, Any]:
    """Forward pass of one batch of held-out rows, and the function that sums its losses."""
    batch = next(batches)

    def sums(output: Tensor, non_loss_data: bool = True) -> Tensor:
        return loss_sums(output_losses(output, batch), batch, groups, n_groups)

    return model_output(model, batch), sums
