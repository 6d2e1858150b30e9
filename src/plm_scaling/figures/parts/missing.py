"""What a figure does with rows that lack a number, and with a table of none."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.style import GREY

More = ParamSpec("More")
Draw = Callable[Concatenate[pd.DataFrame, More], Figure]


def drawn_from(*columns: str, what: str) -> Callable[[Draw[More]], Draw[More]]:
    """For a function that draws a table: it is given the rows that have all these columns.

    Where there are none the figure is a panel that says "no `what` yet". Raises KeyError if the
    table lacks a column.
    """

    def decorate(draw: Draw[More]) -> Draw[More]:
        @wraps(draw)
        def figure(table: pd.DataFrame, *args: More.args, **more: More.kwargs) -> Figure:
            for column in columns:
                table = table[table[column].notna()]
            return nothing(f"no {what} yet") if table.empty else draw(table, *args, **more)

        return figure

    return decorate


def nothing(text: str) -> Figure:
    """A figure of nothing but a sentence."""
    figure, (ax,) = panels(1, height=1)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_axis_off()
    return figure
