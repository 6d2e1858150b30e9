"""The cells of a sweep: a pure function of the config, cheap enough for parsing the Snakefile."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, product
from types import MappingProxyType

from plm_scaling.common.errors import SweepError
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.config.training import PowerLaw
from plm_scaling.study.cell import Cell
from plm_scaling.study.flops import exact_training_flops, training_flops
from plm_scaling.study.shapes import SHAPES, Shape
from plm_scaling.sweep.settings import (
    AS_CONFIGURED,
    Setting,
    batch_rows_at,
    by_size,
    settings,
    value_at,
)
from plm_scaling.sweep.stages import PlacedStage, curves_of

Curve = tuple[float, Objective, str, Recipe]
Trained = tuple[Curve, Iterable[str], list[int], PowerLaw | None]
"""A curve with its sizes, its seeds and the law of its peak learning rate; None: the config's."""
Stages = Mapping[int, PlacedStage]
NO_STAGES: Stages = MappingProxyType({})

OTHER: dict[Objective, Objective] = {"clm": "mlm", "mlm": "clm"}
# Fields of a cell that are those of the block training.
OF_TRAINING = (
    *("beta1", "beta2", "gradient_clip", "precision", "valid_rows"),
    *("divergence_loss", "spike_loss", "max_skipped_steps", "document_mask", "positions"),
)
FLOPS_TOLERANCE = 0.01  # achieved FLOPs lie this close to the budget


def plan_cells(config: SweepInputs, stages: Stages = NO_STAGES) -> dict[str, Cell]:
    """All cells of the config by id, as far as its `stages` have been placed: the grid (cheapest
    budgets first, then objective, corpus and size), single cells, transferred ones, each after the
    cell that it starts from, and those that show the best learning rate.

    Raises `SweepError` when a size is unknown, when a budget is too small for a batch to come
    within 1 % of it, or when no cell is left.
    """
    cells = {cell.cell: cell for cell in chain(_swept(config, stages), _tuning(config))}
    if not cells:
        raise SweepError(
            "the sweep has no cell: no size has sweep.tokens_per_parameter in "
            f"{config.sweep.tokens_per_parameter} at any budget; widen the range or add sizes"
        )
    return cells


def tuning_only(config: SweepInputs, stages: Stages = NO_STAGES) -> set[str]:
    """Ids of the cells that only `sweep.tuning` has: no law of the sweep takes them."""
    if config.sweep.tuning is None:
        return set()
    swept = {cell.cell for cell in _swept(config, stages)}
    return set(tuning_cells(config)) - swept


def _swept(config: SweepInputs, stages: Stages) -> Iterator[Cell]:
    return chain(grid_cells(config, stages).values(), extra_cells(config), _transfers(config))


def grid_cells(config: SweepInputs, stages: Stages = NO_STAGES) -> dict[str, Cell]:
    """The cells of the first stage, which is the whole grid where the config has no other, and of
    those placed."""
    return {
        cell.cell: cell
        for curve, sizes, seeds, rate in chain(_first_stage(config), _placed(stages))
        for cell in _curve_cells(_with_rate(config, curve[1], rate), *curve, sizes, seeds)
    }


def awaited_cells(config: SweepInputs, earlier: Stages) -> dict[str, Cell]:
    """What the stage after `earlier` ones waits for: their cells, and those that tune."""
    return grid_cells(config, earlier) | tuning_cells(config)


def tuning_cells(config: SweepInputs) -> dict[str, Cell]:
    """The cells of `sweep.tuning`, some of which the grid may have, too."""
    return {cell.cell: cell for cell in _tuning(config)}


def sizes_in_range(config: SweepInputs, budget: float, recipe: Recipe) -> dict[str, int]:
    """Parameters by name of the sizes that `tokens_per_parameter` leaves at `budget` FLOPs."""
    low, high = config.sweep.tokens_per_parameter
    known = {size: shape_of(config, size).n_params(recipe) for size in config.sweep.sizes}
    return {size: n for size, n in known.items() if low <= budget / (6 * n * n) <= high}


def _first_stage(config: SweepInputs) -> Iterator[Trained]:
    """Curves with their sizes and seeds."""
    sweep = config.sweep
    designed = {(one.objective, one.flops): one for one in sweep.designed}
    for budget, objective, corpus, recipe in curves_of(sweep, 1):
        curve = (budget, objective, corpus, recipe)
        if one := designed.get((objective, budget)):
            yield curve, one.sizes, one.seeds, None
        else:
            yield curve, sizes_in_range(config, budget, recipe), sweep.seeds, None


def _placed(stages: Stages) -> Iterator[Trained]:
    """The same of what was placed."""
    for number in sorted(stages):
        for one in stages[number].budgets:
            yield one.curve, one.sizes, one.seeds, one.rate


def _with_rate(config: SweepInputs, objective: Objective, rate: PowerLaw | None) -> SweepInputs:
    """The config with this law of the peak learning rate, if there is one."""
    if rate is None:
        return config
    rates = config.training.peak_learning_rate | {objective: rate}
    training = config.training.model_copy(update={"peak_learning_rate": rates})
    return config.model_copy(update={"training": training})


def _curve_cells(
    config: SweepInputs,
    budget: float,
    objective: Objective,
    corpus: str,
    recipe: Recipe,
    sizes: Iterable[str],
    seeds: list[int],
) -> Iterator[Cell]:
    for size in sizes:
        where = (objective, corpus, recipe, size, shape_of(config, size))
        for at in settings(config):
            cell = make_cell(config, *where, budget, seeds[0], at=at)
            yield from (replace(cell, seed=seed) for seed in seeds)


def extra_cells(config: SweepInputs) -> Iterator[Cell]:
    """Those of sweep.extra, of which some may be cells of the grid, too."""
    for extra in config.sweep.extra:
        where = (extra.objective, extra.corpus, extra.recipe, extra.size)
        shape = shape_of(config, extra.size)
        yield make_cell(config, *where, shape, extra.flops, config.sweep.seeds[0])


def _transfers(config: SweepInputs) -> Iterator[Cell]:
    """The source of each transfer, which may be a cell of the grid, and its target."""
    for transfer in config.sweep.transfer:
        shape = shape_of(config, transfer.size)
        where = (transfer.corpus, transfer.recipe, transfer.size, shape)
        seed = config.sweep.seeds[0]
        source = make_cell(config, OTHER[transfer.objective], *where, transfer.source_flops, seed)
        yield source
        yield make_cell(config, transfer.objective, *where, transfer.flops, seed, source)


def _tuning(config: SweepInputs) -> Iterator[Cell]:
    sweep, tuning = config.sweep, config.sweep.tuning
    if tuning is None:
        return
    for budget, objective, size, batch, rate in product(
        tuning.budgets_flops,
        sweep.objectives,
        tuning.sizes,
        tuning.batch_factors,
        tuning.learning_rate_factors,
    ):
        where = (objective, sweep.corpora[0], sweep.recipes[0], size, shape_of(config, size))
        yield make_cell(config, *where, budget, sweep.seeds[0], at=Setting(rate, batch))


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
