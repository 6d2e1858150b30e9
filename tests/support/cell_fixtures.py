"""Cells and records for tests: any shape, everything else of little account."""

from dataclasses import asdict
from typing import Any

from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord
from plm_scaling.study.shapes import Shape

# A model of half the usual width of tests and a third of the channels of its heads.
MUP = {"mup_base_width": 12, "mup_base_channels": 3}


def cell_of(objective: str, shape: Shape, recipe: str = "study", **changes: Any) -> Cell:
    """A cell of this shape; `changes` replace any of its fields."""
    is_mlm = objective == "mlm"
    values: dict[str, Any] = {
        "objective": objective,
        "recipe": recipe,
        "size": "test",
        "layers": shape.layers,
        "hidden": shape.hidden,
        "ffn": shape.ffn,
        "heads": shape.heads,
        "n_params": shape.n_params(recipe),
        "n_params_total": shape.n_params_total(recipe),
        "tokens": 10 * 4 * 64,
        "steps": 10,
        "batch_rows": 4,
        "context_length": 64,
        "flops_budget": 1e9,
        "flops": 1e9,
        "flops_exact": 1e9,
        "corpus": "test",
        "mixture": {"a": 0.5, "b": 0.5},
        "strata": ["kept"],
        "unique_tokens_limit": None,
        "mask_ratio": 0.15 if is_mlm else None,
        "masking": "token" if is_mlm else None,
        "init_from": None,
        "source_flops": None,
        "seed": 1,
        "data_seed": 1,
        "peak_learning_rate": 1e-2,
        "final_learning_rate": 1e-3,
        "warmup_steps": 2,
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.95,
        "gradient_clip": 1.0,
        "init_std": 0.1,
        "precision": "fp32",
        "evaluations": 2,
        "valid_rows": 4,
        "divergence_loss": 3.5,
        "spike_loss": 3.0,
        "max_skipped_steps": 10,
    }
    return Cell(**(values | changes))


def record_of(cell: Cell, /, **changes: Any) -> RunRecord:
    """The record of a cell that trained what was planned; `changes` replace any of its keys."""
    values: dict[str, Any] = {
        "cell": cell.cell,
        "status": "finished",
        "reason": "",
        "loss": 2.5,
        "loss_last": 2.5,
        "held_out_losses": {"valid": 2.5, "valid/a": 2.4, "ood": 2.9},
        "n_evals": cell.evaluations,
        "steps": cell.steps,
        "tokens": cell.tokens,
        "unique_tokens": 1000,
        "flops": cell.flops,
        "flops_exact": cell.flops_exact,
        "wall_seconds": 1.0,
        "tokens_per_second": float(cell.tokens),
        "data_sha256": "0",
        "config": asdict(cell),
        "versions": {"torch": "2.13.0", "megatron-core": "0.16.1", "python": "3.11.2"},
    }
    return RunRecord(**(values | changes))
