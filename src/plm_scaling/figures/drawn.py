"""A figure from its table: each function that draws, by the name of its figure."""

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.figures.parts.style import save, style

logger = logging.getLogger("plm_scaling")

# In which module of the library the function named as the figure lies.
MODULES = {
    **{
        name: f"figures.laws.{name}"
        for name in (
            *("isoflop", "frontier", "parametric", "loss_contours", "repeated", "transfer"),
            *("mask_ratio", "tuning", "batches"),
        )
    },
    **{name: f"figures.runs.{name}" for name in ("learning_curves", "held_out", "forecasts")},
    **dict.fromkeys(("corpora", "recipes"), "figures.runs.comparison"),
    **{name: f"figures.data.{name}" for name in ("funnel", "perplexity", "masking")},
    "downstream_loss": "figures.downstream.by_loss",
    "downstream_compute": "figures.downstream.by_compute",
    **dict.fromkeys(("fitness_assays", "contacts", "generation"), "figures.downstream.bars"),
    "exposure": "figures.downstream.exposure",
    **{name: f"cheng2024.{name}" for name in ("ur50_unimeta", "fitness_and_loss")},
}


def draw_table(name: str, table: pd.DataFrame, out: Path, own: Path | None = None) -> None:
    """Write `out`/`name`.svg, .pdf, .png and .csv, in the project's style or that and `own`."""
    draw: Callable[[pd.DataFrame], Figure] = getattr(
        import_module(f"plm_scaling.{MODULES[name]}"), name
    )
    with style(own):
        save(draw(table), table, out / name)


def draw_again(folder: Path, out: Path, own: Path | None, only: Sequence[str] = ()) -> list[str]:
    """Draw the figures whose tables lie in `folder` (or in its figures/) into `out`, in the style
    `own`; return their names.

    Raises PlmScalingError if a figure of `only` has no table there, or none has.
    """
    own_folder = folder / "figures"
    folder = own_folder if own_folder.is_dir() else folder
    there = [name for name in MODULES if (folder / f"{name}.csv").is_file()]
    if missing := [name for name in only if name not in there]:
        known = ", ".join(there) or "none"
        raise PlmScalingError(f"{folder}: no table of {', '.join(missing)}, but of {known}")
    if not there:
        raise PlmScalingError(f"{folder}: no tables of figures; make them with `snakemake`")
    out.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in there if not only or name in only]
    for name in wanted:
        table = pd.read_csv(folder / f"{name}.csv")
        try:
            draw_table(name, table, out, own)
        except KeyError as error:
            source = folder / f"{name}.csv"
            why = f"no column {error}; an earlier version wrote it: draw it with `snakemake`"
            raise PlmScalingError(f"{source}: {why}") from None
    logger.info("[figures] %s in %s", ", ".join(wanted), out)
    return wanted
