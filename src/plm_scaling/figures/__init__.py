"""Figures as pure functions of tables; every figure ships with the numbers it draws.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the figures change.
"""

from collections.abc import Collection, Iterable

from plm_scaling.runs.scores import JUDGED
from plm_scaling.study.laws import LAWS

STAGE_VERSION = 8

DATA_FIGURES = ("funnel", "perplexity", "masking")


def run_figures(laws: Iterable[str], n_corpora: int, n_recipes: int) -> list[str]:
    """Names of the figures of a study that fits these laws, of so many corpora and recipes."""
    return [
        "learning_curves",
        *["corpora"] * (n_corpora > 1),
        *["recipes"] * (n_recipes > 1),
        *dict.fromkeys(f for law in laws for f in LAWS[law].figures),
        *("held_out", "forecasts"),
    ]


def downstream_figures(tasks: Collection[str]) -> list[str]:
    """Names of the figures of scores of these tasks. Proteins that are judged have theirs alone."""
    return [
        *["downstream_loss", "downstream_compute"] * bool({*tasks} - {JUDGED}),
        *["fitness_assays", "exposure"] * ("fitness" in tasks),
        *["contacts"] * ("contacts" in tasks),
        *["generation"] * (JUDGED in tasks),
    ]
