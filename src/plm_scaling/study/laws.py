"""The laws that a study can fit, each declared once; docs/laws.md says how one is added.

Config, rules and command line need to know what there is without what fits it: an entry only names
its module, which `laws.law_module` imports.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

Axes = Literal["best", "all"]  # which runs of the settings of a sweep's axes the laws take
BOTH = "both"  # the objective of a law that takes runs of both
OF_SCORES = "downstream"  # the law of scores.csv: `downstream.law`, of no runs table, not in LAWS
# Batches that a best one is found among: enough for a parabola; with one curvature for all (N, D)
# these check each other.
MIN_BATCHES = 3


@dataclass(frozen=True)
class Law:
    """One law: the runs that it takes, its fit, and what is shown of it."""

    about: str
    """What it says, for docs/config.md."""
    module: str
    """Where it lies under `plm_scaling.laws`: `fit_tables(runs, curves, settings)` takes usable
    runs, as `read_runs` gives them, and their curves or None, and returns the `LawResult`;
    `fit_{name}` takes arrays and is the Python API; `Details` is the type of its own tables."""
    unusable: str
    """The function of `laws.points` that says why a run of an objective may not be used."""
    headline: tuple[str, str, str]
    """The equation and parameter of its first line, and how to say it."""
    otherwise: tuple[str, str, str] | None = None
    """The same where only this has a value, if the law has a second form."""
    figures: tuple[str, ...] = ()
    """The figures of a study that fits it: `figures/laws/{name}.py` has `{name}_table(laws)` and
    `{name}(table)`."""
    figures_of_curves: tuple[str, ...] = ()
    """Those drawn besides where it was fitted to curves (`details["kind"]`)."""
    objectives: tuple[str, ...] = ("clm", "mlm")
    needs_transfer: bool = False
    """Whether it needs runs of its objective that started from the other."""
    compared_with: str = ""
    """The law that estimates the same exponent in another way (`laws.disagreement`)."""
    not_taken: str = ""
    """Why it did not take a usable run, if it chooses among them (`LawResult.taken`)."""
    not_a_point: str = ""
    """Why a run that it took is none of its points, where not all are."""
    of_settings: bool = False
    """Whether it compares settings of the sweep's axes and takes all of them, and the runs of
    sweep.tuning, too."""


LAWS = {
    "frontier": Law(
        about="lower envelope of all curves",
        module="frontier.fit",
        unusable="not_alike",
        headline=("N", "a", "N_opt ∝ C^{}"),
        figures=("frontier",),
        not_taken="no validation curve",
    ),
    "isoflop": Law(
        about="minima of loss over size per budget",
        module="isoflop.fit",
        unusable="not_comparable",
        headline=("N", "a", "N_opt ∝ C^{}"),
        figures=("isoflop", "frontier"),
        compared_with="parametric",
        not_a_point="at no accepted minimum or outside its window",
    ),
    "parametric": Law(
        about="L = E + A/N^α + B/D^β",
        module="parametric.fit",
        unusable="not_comparable",
        headline=("N", "a", "N_opt ∝ C^{}"),
        figures=("frontier", "parametric", "loss_contours"),
        compared_with="isoflop",
    ),
    "repeated": Law(
        about="what repeated tokens are worth",
        module="repeated.fit",
        unusable="not_from_scratch",
        headline=("D_eff", "R_D", "R*_D = {} repetitions"),
        otherwise=("excess", "kappa", "R repetitions add c·R^{} nats"),
        figures_of_curves=("repeated",),
        not_taken="no unique_tokens, or not compared with a run that repeats them",
    ),
    "transfer": Law(
        about="what starting from the other objective is worth",
        module="transfer.fit",
        unusable="not_usable",
        headline=("D_t", "b", "transferred tokens ∝ N^{}"),
        figures=("transfer",),
        needs_transfer=True,
        not_taken="in no pair of a transferred run and its partner from scratch",
    ),
    "mask_ratio": Law(
        about="the best mask ratio",
        module="mask_ratio.fit",
        unusable="not_from_scratch",
        headline=("L", "ratio", "best mask ratio {}"),
        figures=("mask_ratio",),
        objectives=("mlm",),
        not_taken="of no size with 4 mask ratios at equal tokens",
        not_a_point="too far above the best of its size",
    ),
    "tuning": Law(
        about="the best learning rate by N and D, and what the rates of the sweep cost",
        module="tuning.fit",
        unusable="not_alike",
        headline=("rate", "alpha", "best learning rate ∝ N^{} at equal D"),
        figures=("tuning", "batches"),
        not_taken="of no size with 4 learning rates at equal tokens and batch",
        not_a_point="too far above the best rate of its size",
        of_settings=True,
    ),
    "joint": Law(
        about="two models of equal size from one compute sum, by isoflop",
        module="joint.fit",
        unusable="not_comparable",
        headline=("N", "a", "N of two equal models ∝ C_sum^{}"),
        objectives=(BOTH,),
        not_a_point="at no accepted minimum or outside its window",
    ),
}

WITHOUT_REPEATS = [name for name, law in LAWS.items() if law.unusable == "not_comparable"]
"""The laws that leave out runs of more than `MAX_EPOCHS` epochs."""


def fitted(
    laws: Iterable[str], objectives: Iterable[str], transferred: Collection[str]
) -> list[tuple[str, str]]:
    """(objective, law) of each law file of a study that fits `laws` to runs of `objectives`, of
    which `transferred` have runs that started from the other objective."""
    return [
        (objective, law)
        for objective in (*objectives, BOTH)
        for law in laws
        if objective in LAWS[law].objectives
        and (objective in transferred or not LAWS[law].needs_transfer)
    ]
