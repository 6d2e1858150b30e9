"""Config block of the sweep."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plm_scaling.config.numbers import (
    Block,
    Count,
    Follows,
    Name,
    Number,
    Positive,
    Share,
)
from plm_scaling.study.shapes import STUDY_GRID

Objective = Literal["clm", "mlm"]
Recipe = Literal["study", "prenorm"]
Masking = Literal["study", "token", "bert", "span"]
Axis = Literal["learning_rate_factor", "batch_factor", "weight_decay", "mask_ratio"]


class ShapeBlock(Block):
    """A transformer shape besides those of the study's grid."""

    layers: Count
    """Transformer layers."""
    hidden: Count
    """Width d."""
    ffn: Count
    """Inner width of the GEGLU; floor(8d/3) in the study."""
    heads: Count
    """Attention heads; divides hidden."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(
                f"hidden {self.hidden} needs an even number of channels per head; "
                f"{self.heads} heads do not give that"
            )
        return self


class Extra(Block):
    """A single cell outside the grid, such as a validation run of a law."""

    objective: Objective
    """clm or mlm."""
    corpus: Annotated[Name, Follows("the first of `corpora`")]
    """A name in `corpora`."""
    recipe: Annotated[Recipe, Follows("the first of `recipes`")]
    """study or prenorm."""
    size: Name
    """A name in the size grid or in `shapes`."""
    flops: Positive
    """Compute budget, 6·N·D FLOPs."""


class Transfer(Extra):
    """A cell that starts from the weights of one of the other objective, and the cell that these
    come from: same corpus, recipe and size. Both are trained; either may be one of the grid."""

    flops: Positive
    """Compute budget of the cell itself, 6·N·D FLOPs."""
    source_flops: Positive
    """Compute budget of the cell that it starts from."""


Factors = Annotated[list[Positive], Field(min_length=1)]
Rates = Annotated[list[Positive], Field(min_length=4)]


class Tuning(Block):
    """Cells that show the best learning rate: every objective × size × budget × batch × rate, on
    the sweep's first corpus, recipe and seed."""

    sizes: Annotated[list[Name], Field(min_length=1)]
    """Names in the size grid or in `shapes`; two at least, or the exponent of N is unknown."""
    budgets_flops: Annotated[list[Positive], Field(min_length=1)]
    """Compute per cell, 6·N·D FLOPs; two at least, or the exponent of D is unknown. Cheap ones, if
    the law is to be used at larger ones."""
    learning_rate_factors: Rates = [0.25, 0.5, 1.0, 2.0, 4.0]
    """Rates to try, as multiples of that of training.peak_learning_rate, evenly spaced in the
    logarithm."""
    batch_factors: Factors = [1.0]
    """Batches to try, as multiples of training.batch_tokens; [1] for that alone. Each is tried with
    all rates. Three or more, evenly spaced in the logarithm, give a law of the best batch, too."""


class Designed(Block):
    """A budget of an objective of which only some sizes are trained, with seeds of its own."""

    objective: Objective
    """clm or mlm, one of `objectives`."""
    flops: Positive
    """One of `budgets_flops`."""
    sizes: list[Name]
    """Names in the size grid or in `shapes`, [] for none; `tokens_per_parameter` does not apply to
    them."""
    seeds: Annotated[list[Count], Field(min_length=1), Follows("`sweep.seeds`")]
    """One cell per size and seed."""


class Stage(Block):
    """Budgets whose sizes are placed by what the cheaper ones have shown, once these have ended."""

    from_flops: Positive
    """The stage has the budgets from here on, up to the next stage's (FLOPs)."""
    sizes: Annotated[int, Field(ge=4)] = 5
    """Sizes of each budget, spread evenly in ln N; of fewer than 4 no minimum is read."""
    reach: Positive = 1.7
    """How far they reach in ln N below and above the expected minimum, before its uncertainty
    widens that: 1.7 is from a fifth to five times its size."""
    max_seeds: Count = 1
    """Seeds of a size at most, where noise is as large as the bowl."""
    skip: bool = False
    """true: its cells are neither placed nor trained, nor waited for."""


class Sweep(Block):
    """The IsoFLOP grid: every corpus × recipe × objective × budget × size × seed in range of tokens
    per parameter."""

    corpora: Annotated[list[Name], Field(min_length=1), Follows("all of `corpora`")]
    """Names in `corpora`; every cell of the grid is trained on each. The laws are fitted to the
    corpus that most runs share."""
    objectives: Annotated[list[Objective], Field(min_length=1)] = ["clm", "mlm"]
    """clm (causal) and/or mlm (masked)."""
    recipes: Annotated[list[Recipe], Field(min_length=1)] = ["study"]
    """Architectures, each trained on the whole grid. study: that of the study (post-LN with
    DeepNorm, GEGLU, biases). prenorm: today's (RMSNorm before each block, SwiGLU, no biases, QK
    norm). The laws are fitted to the one that most runs share."""
    budgets_flops: Annotated[list[Positive], Field(min_length=1)] = [1e17, 3e17, 1e18, 3e18]
    """Compute per cell, C = 6·N·D FLOPs with N non-embedding parameters and D tokens."""
    sizes: Annotated[list[Name], Field(min_length=1)] = [*STUDY_GRID]
    """Names of known sizes, the study's 3.5M to 10.7B and smaller ones from 250
    (src/plm_scaling/study/shapes.py), smallest to largest, or in
    `shapes`."""
    shapes: dict[Name, ShapeBlock] = {}
    """Shapes of your own: {name: {layers: 12, hidden: 512, ffn: 1365, heads: 8}}; {} for none. Then
    name them in sizes."""
    tokens_per_parameter: Annotated[list[Positive], Field(min_length=2, max_length=2)] = [
        3.0,
        4000.0,
    ]
    """Cells outside [low, high] tokens per non-embedding parameter are not trained. It should hold
    a minimum inside every budget of each objective; wider costs more and bends the parabolas."""
    max_epochs: Positive = 40.0
    """A cell that would go through its data more often is refused, as soon as it is known how much
    data there is; from 4 times on it is warned of. Up to 4 times repeated tokens are nearly as good
    as new, and after 40 they teach nothing (Muennighoff et al. 2023). Corpora with `unique_tokens`
    repeat on purpose, and have no limit."""
    mask_ratio: Share = 0.15
    """Share of tokens masked for MLM (0.15 in the study)."""
    masking: Masking = "study"
    """How MLM tokens are chosen and replaced. study: BERT's way as in the authors' code,
    int(mask_ratio · length) of each row, 80 % by <mask>, 10 % by a random residue, 10 % kept (the
    evidence is in docs/training.md). bert: the same, but each on its own. token: each on its own,
    by <mask>. span: in spans, by <mask>."""
    seeds: Annotated[list[Count], Field(min_length=1)] = [1]
    """One cell per seed; it sets initial weights and masks (the data order follows from `seed`).
    Add seeds to measure the noise between runs."""
    extra: list[Extra] = []
    """Single cells outside the grid; [] for none."""
    transfer: list[Transfer] = []
    """Cells that start from the other objective's weights, with a fresh optimizer and a
    learning-rate schedule of their own; [] for none. flops is that of the cell itself, source_flops
    of the one that it starts from. The law `transfer` compares each with a cell from scratch of the
    same objective, corpus, recipe, size and flops, in the grid or `extra`."""
    axes: dict[Axis, Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=1)]] = {}
    """Settings that vary over the grid, each value with each: {learning_rate_factor: [0.5, 1, 2]};
    {} for none. learning_rate_factor and batch_factor multiply what training gives, weight_decay
    and mask_ratio take its place. What is configured (1 for a factor) must be among the values:
    single and transferred cells have it. laws.axes says which runs the laws take."""
    tuning: Tuning | None = None
    """Cells that show the best learning rate (docs/training.md has an example); null for none. They
    are trained like others. Stages wait for them and take the peak learning rates of their law, if
    it is identified, and with several batch_factors the best batches, if these are, too. So do
    cells of `extra` and `transfer`, each with the stage of its budget. The law `tuning` of
    laws.fits is fitted to them, and no other law takes them (unless the grid has the same cell)."""
    designed: list[Designed] = []
    """For some budgets of an objective: train only these sizes and seeds, as `plm-scaling design`
    proposes; [] for none. A budget that is not listed trains all `sizes` in range."""
    stages: list[Stage] = []
    """Stages after the first, by rising from_flops; [] for none. Budgets below the first
    from_flops begin. When the cells of all earlier stages have ended, the law fitted to them places
    those of the next, within sizes and tokens_per_parameter; where it is not known, they are spread
    over all sizes in range. With tuning its cells have ended, too, and the first from_flops may be
    the smallest budget. results/{study}/stages/ holds what was placed and is never changed
    (docs/running.md)."""

    def stage_of(self, flops: float) -> int:
        """The stage, from 1, of a budget of the grid."""
        return 1 + sum(flops >= stage.from_flops for stage in self.stages)

    @model_validator(mode="after")
    def _stages_divide_the_budgets(self) -> Self:
        starts = [stage.from_flops for stage in self.stages]
        filled = {self.stage_of(budget) for budget in self.budgets_flops}
        filled |= {1} if self.tuning else set()  # which then comes before all budgets
        if starts != sorted(set(starts)) or filled != set(range(1, len(starts) + 2)):
            raise ValueError(
                "stages: from_flops must rise, with one of budgets_flops below the first (unless "
                "there is `tuning`), and one from each on that is below the next"
            )
        if several := [one for one in self.designed if self.stage_of(one.flops) > 1]:
            raise ValueError(
                f"designed: {several[0].objective} at {several[0].flops:g} belongs to a later "
                "stage, which places its sizes; take it out of designed, or raise from_flops"
            )
        return self

    @model_validator(mode="after")
    def _designed_budgets_are_of_the_grid(self) -> Self:
        seen = set()
        for one in self.designed:
            named = f"{one.objective} at {one.flops:g}"
            if one.objective not in self.objectives or one.flops not in self.budgets_flops:
                raise ValueError(
                    f"designed: {named} is no budget of the grid; add it to objectives and "
                    "budgets_flops, or take it out"
                )
            if named in seen:
                raise ValueError(f"designed: {named} is there twice; make one entry of them")
            seen.add(named)
        return self

    @model_validator(mode="after")
    def _axes_hold_what_is_configured(self) -> Self:
        known: dict[Axis, float] = {"learning_rate_factor": 1, "batch_factor": 1}
        for axis, value in (known | {"mask_ratio": self.mask_ratio}).items():
            check_axis(axis, self.axes.get(axis), value)
        return self


def check_axis(axis: Axis, values: Sequence[float] | None, configured: float) -> None:
    """Raise `ValueError` unless the values of an axis, if there are any, are different and possible
    and what is configured is among them."""
    if values is None:
        return
    if len(set(values)) < len(values):
        raise ValueError(f"axes.{axis}: a value is there twice in {list(values)}")
    least_above_zero = axis != "weight_decay"
    if (least_above_zero and min(values) <= 0) or (axis == "mask_ratio" and max(values) > 1):
        wanted = "a share above 0, at most 1" if axis == "mask_ratio" else "above 0"
        raise ValueError(f"axes.{axis}: each value is {wanted}, found {list(values)}")
    if configured not in values:
        raise ValueError(
            f"axes.{axis}: {configured:g}, which single and transferred cells have, is not among "
            f"{list(values)}; add it"
        )
