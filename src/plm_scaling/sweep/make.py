"""A cell of a sweep from the config and its place: model, steps, batch and learning rate."""

from plm_scaling.common.errors import SweepError
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.study.cell import Cell
from plm_scaling.study.flops import exact_training_flops, training_flops
from plm_scaling.study.shapes import SHAPES, Shape
from plm_scaling.sweep.settings import (
    AS_CONFIGURED,
    Setting,
    batch_rows_at,
    by_size,
    value_at,
)

# Fields of a cell that are those of the block training.
OF_TRAINING = (
    *("beta1", "beta2", "gradient_clip", "precision", "valid_rows"),
    *("divergence_loss", "spike_loss", "max_skipped_steps", "document_mask", "positions"),
)
FLOPS_TOLERANCE = 0.01  # achieved FLOPs lie this close to the budget


def shape_of(config: SweepInputs, size: str) -> Shape:
    """The shape of a size name: the config's own shapes first, then the known ones."""
    if size in config.sweep.shapes:
        own = config.sweep.shapes[size]
        return Shape(own.layers, own.hidden, own.ffn, own.heads)
    if size not in SHAPES:
        known = ", ".join([*config.sweep.shapes, *SHAPES])
        raise SweepError(
            f"sweep: unknown size {size!r}; add it to sweep.shapes or use one of {known}"
        )
    return SHAPES[size]


def make_cell(
    config: SweepInputs,
    objective: Objective,
    corpus: str,
    recipe: Recipe,
    size: str,
    shape: Shape,
    budget: float,
    seed: int,
    source: Cell | None = None,
    at: Setting = AS_CONFIGURED,
) -> Cell:
    """Whole steps of whole rows, 6·N·D nearest to `budget` FLOPs, from the weights of `source`.

    Where batch and learning rate depend on tokens, these are the budget's, C/(6·N): the batch does
    not depend on what rounding makes of it.
    """
    training = config.training
    data = config.corpora[corpus]
    context = config.tokens.context_length
    n_params = shape.n_params(recipe)
    meant = budget / (6 * n_params)
    batch_rows = batch_rows_at(training.batch_tokens, n_params, meant, context, at.batch_factor)
    steps = max(1, round(budget / (6 * n_params * batch_rows * context)))
    tokens = steps * batch_rows * context
    flops = training_flops(n_params, tokens)
    if abs(flops / budget - 1) > FLOPS_TOLERANCE:
        raise SweepError(
            f"{objective} {size} at {budget:g} FLOPs: {steps} steps of {batch_rows * context} "
            f"tokens are {flops:.3g} FLOPs, not within 1 % of the budget; lower "
            "training.batch_tokens or raise the low end of sweep.tokens_per_parameter"
        )
    warmup = training.warmup_fraction if source is None else training.transfer_warmup_fraction
    rates, batch_tokens = training.peak_learning_rate[objective], batch_rows * context
    peak = value_at(rates, n_params, meant, batch_tokens)
    peak *= at.learning_rate_factor
    return Cell(
        objective=objective,
        recipe=recipe,
        size=size,
        **vars(shape),
        n_params=n_params,
        n_params_total=shape.n_params_total(recipe),
        tokens=tokens,
        steps=steps,
        batch_rows=batch_rows,
        context_length=context,
        start_token=config.tokens.start_token,
        flops_budget=budget,
        flops=flops,
        flops_exact=exact_training_flops(shape, tokens, context, objective),
        corpus=corpus,
        mixture=dict(data.mixture),
        strata=data.strata,
        unique_tokens_limit=data.unique_tokens,
        mask_ratio=_or(at.mask_ratio, config.sweep.mask_ratio) if objective == "mlm" else None,
        masking=config.sweep.masking if objective == "mlm" else None,
        init_from=source.cell if source else None,
        source_flops=source.flops if source else None,
        seed=seed,
        data_seed=config.seed,
        peak_learning_rate=peak,
        weight_decay=_or(at.weight_decay, training.weight_decay),
        final_learning_rate=peak * training.final_learning_rate_fraction,
        warmup_steps=round(warmup * steps),
        init_std=by_size(training.init_std, n_params),
        evaluations=min(training.evaluations, steps),
        initialisation=training.initialisation if recipe == "study" else "normal",
        common_evaluation=training.common_evaluation and objective == "mlm",
        mup_base_width=training.mup.base_width if training.mup else None,
        mup_base_channels=training.mup.base_channels if training.mup else None,
        **{name: getattr(training, name) for name in OF_TRAINING},
    )


def _or(own: float | None, configured: float) -> float:
    return configured if own is None else own
