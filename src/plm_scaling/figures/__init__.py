"""Figures as pure functions of tables; every figure ships with the numbers it draws.

`STAGE_VERSION` is a parameter of the Snakemake rule: raise it when the figures change.
"""

from collections.abc import Iterable

STAGE_VERSION = 4

DATA_FIGURES = ("funnel", "perplexity", "masking")
_OF_LAW = {
    "isoflop": ("isoflop", "frontier"),
    "frontier": ("frontier",),
    "parametric": ("frontier", "parametric", "loss_contours"),
    "transfer": ("transfer",),
    "mask_ratio": ("mask_ratio",),
}


def run_figures(laws: Iterable[str], n_corpora: int, n_recipes: int) -> list[str]:
    """Names of the figures of a study that fits these laws, of so many corpora and recipes."""
    return [
        "learning_curves",
        *["corpora"] * (n_corpora > 1),
        *["recipes"] * (n_recipes > 1),
        *dict.fromkeys(f for law in laws for f in _OF_LAW.get(law, ())),
        "held_out",
    ]
