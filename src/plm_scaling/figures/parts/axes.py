"""Panels of a figure and their axes."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from plm_scaling.common.progress import short_number

GUTTER = 0.2  # inches between the columns of a page
COMPUTE_LABEL = "training compute C = 6·N·D (FLOPs)"
SIZE_LABEL = "non-embedding parameters N"
LOSS_LABEL = "validation loss (nats/token)"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def width(page: bool) -> float:
    """Inches of one column, or of a page of two: the style's figure.figsize."""
    column = float(mpl.rcParams["figure.figsize"][0])
    return 2 * column + GUTTER if page else column


def panels(
    rows: int, columns: int = 1, height: float = 2.1, **share: Any
) -> tuple[Figure, list[Axes]]:
    """Panels of `height` inches, row by row, with letters if there are several; drawn without a
    display. Several columns take the width of a page. `share` is sharex and sharey."""
    size = width(page=columns > 1), rows * height
    figure = Figure(figsize=size, layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False, **share)
    axes = list(made.ravel())
    if len(axes) > 1:
        for number, ax in enumerate(axes):
            ax.set_title(chr(ord("a") + number), loc="left", weight="bold")
    return figure, axes


def rows_of(count: int, columns: int) -> tuple[int, int]:
    """Rows and columns of a grid for so many panels."""
    columns = max(min(count, columns), 1)
    return max(-(-count // columns), 1), columns


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis labelled 100k, 1M, 1B, with more labels when it spans little."""
    axis = _log(axes, which)
    if axis is None:
        return
    low, high = axis.get_view_interval()
    decades = np.log10(high / low) if low > 0 else 9
    steps: tuple[float, ...] = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.set_minor_formatter(NullFormatter())


def compute_axis(axes: Axes, label: bool = True) -> None:
    """A logarithmic x axis of FLOPs in powers of ten: nobody reads 10¹² FLOPs as 1T."""
    if label:
        axes.set_xlabel(COMPUTE_LABEL)
    axis = _log(axes, "x")
    if axis is None:
        return
    low, high = axis.get_view_interval()
    steps: tuple[float, ...] = (1.0,) if high > 30 * low else (1.0, 3.0)
    _powers_of_ten(axis, LogLocator(subs=steps))


def rate_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis of learning rates."""
    axis = _log(axes, which)
    if axis is None:
        return
    _powers_of_ten(axis, LogLocator(subs=(1, 2, 5), numticks=6))


def _powers_of_ten(axis: Axis, locator: LogLocator) -> None:
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_formatter(NullFormatter())


def _log(axes: Axes, which: str) -> Axis | None:
    """The axis, logarithmic; None, and no ticks, where nothing is drawn along it, in no panel that
    shares it: its ticks are those of all of them."""
    axis, free, shared = (
        (axes.xaxis, axes.get_autoscalex_on(), axes.get_shared_x_axes())
        if which == "x"
        else (axes.yaxis, axes.get_autoscaley_on(), axes.get_shared_y_axes())
    )
    own = [ax.xaxis if which == "x" else ax.yaxis for ax in shared.get_siblings(axes)]
    if free and not any(np.isfinite(one.get_minpos()) for one in own):
        axis.set_ticks([])
        return None
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    return axis


def intervals(value: Any, low: "pd.Series[float]", high: "pd.Series[float]") -> np.ndarray:
    """Lengths of error bars (2, n) from the ends of intervals; 0 where there is none."""
    return np.nan_to_num(np.clip(np.array([value - low, high - value], float), 0, None))


def focus(ax: Axes, values: "pd.Series[float]", share: float, least: float) -> None:
    """A y axis of just these values and a margin, of at least `least` where they are equal; as it
    is where all are missing."""
    if values.notna().sum() == 0:
        return
    low, high = float(values.min()), float(values.max())
    margin = share * (high - low) or least
    ax.set_ylim(low - margin, high + margin)


def equal_spans(axes: Sequence[Axes]) -> None:
    """One length per nat in all panels, which begin where their own values do."""
    ends = [ax.get_ylim() for ax in axes]
    most = max(high - low for low, high in ends)
    for ax, (low, high) in zip(axes, ends, strict=True):
        ax.set_ylim((low + high - most) / 2, (low + high + most) / 2)


def power_of_ten(value: float) -> str:
    """3.01e11 → '3×10¹¹', two significant digits; as text, since mathematics is slow to set."""
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa}×{power}"
