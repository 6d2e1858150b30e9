"""The look of every figure, and how it is written: SVG, PDF, PNG and the numbers as CSV.

Figures are 4.6 inches wide: a column of print, and legible when a phone scales them to its width.
Colours are those of Okabe and Ito and viridis, which colour-blind readers can tell apart;
objectives also differ by marker.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from plm_scaling.common.files import atomic
from plm_scaling.common.progress import short_number

WIDTH = 4.6
OBJECTIVE_COLOURS = {"clm": "#0072B2", "mlm": "#D55E00"}
OBJECTIVE_MARKERS = {"clm": "o", "mlm": "s"}
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#666666"
COMPUTE_LABEL = "training compute C = 6·N·D (FLOPs)"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CANVASES: dict[str, Any] = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}
PNG_DPI = 200
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "savefig.bbox": None,
}


@contextmanager
def style() -> Iterator[None]:
    """The project's matplotlib settings for the block."""
    with mpl.rc_context(STYLE):
        yield


def panels(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """`rows` axes stacked in one column, each `height` inches high; drawn without a display."""
    figure = Figure(figsize=(WIDTH, rows * height), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False)
    return figure, list(axes[:, 0])


def sequential(values: np.ndarray) -> dict[float, str]:
    """A colour per distinct value, even in the logarithm; the palest end of viridis is left out."""
    distinct = np.unique(values)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, max(len(distinct), 2)))
    return {float(v): mpl.colors.to_hex(c) for v, c in zip(distinct, colours, strict=False)}


def size_colours(n_params: np.ndarray) -> tuple[mpl.cm.ScalarMappable, LogNorm]:
    """A continuous colour scale for model sizes."""
    low, high = float(n_params.min()), float(n_params.max())
    norm = LogNorm(low, high if high > low else low * 1.01)
    cut = mpl.colors.ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.88, 256)))
    return mpl.cm.ScalarMappable(norm, cut), norm


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis labelled 100k, 1M, 1B, with more labels when it spans little."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    decades = np.log10(high / low) if low > 0 else 9
    steps: tuple[float, ...] = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.set_minor_formatter(NullFormatter())


def compute_axis(axes: Axes) -> None:
    """A logarithmic x axis in powers of ten: nobody reads 10¹² FLOPs as 1T."""
    axes.set_xscale("log")
    low, high = axes.xaxis.get_view_interval()
    steps: tuple[float, ...] = (1.0,) if high > 100 * low else (1.0, 3.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def note(
    ax: Axes, text: str, at: tuple[float, float], shift: tuple[int, int], size: int = 8, **look: Any
) -> None:
    """Small text `shift` points beside a place."""
    ax.annotate(text, at, xytext=shift, textcoords="offset points", fontsize=size, **look)


def intervals(value: Any, low: "pd.Series[float]", high: "pd.Series[float]") -> np.ndarray:
    """Lengths of error bars (2, n) from the ends of intervals; 0 where there is none."""
    return np.nan_to_num(np.clip(np.array([value - low, high - value], float), 0, None))


def focus(ax: Axes, values: "pd.Series[float]", share: float, least: float = 0.0) -> None:
    """A y axis of just these values and a margin, of at least `least` where they are equal."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = share * (high - low) or least
    ax.set_ylim(low - margin, high + margin)


def power_of_ten(value: float) -> str:
    """3.01e11 → '3×10¹¹', two significant digits; as text, since mathematics is slow to set."""
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa}×{power}"


def save(figure: Figure, table: pd.DataFrame, stem: Path) -> None:
    """Write `stem`.svg, .pdf, .png (200 dpi) and .csv; the same figure gives the same bytes."""
    no_date = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    with mpl.rc_context({**STYLE, "svg.hashsalt": stem.name, "svg.fonttype": "path"}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not once per format
        for kind, canvas in CANVASES.items():  # `savefig` would draw everything twice
            figure.set_dpi(PNG_DPI)  # the others fall back to points
            with atomic(stem.with_name(f"{stem.name}.{kind}")) as temporary:
                getattr(canvas(figure), f"print_{kind}")(temporary, metadata=no_date[kind])
    with atomic(stem.with_name(f"{stem.name}.csv")) as temporary:
        table.to_csv(temporary, index=False)
