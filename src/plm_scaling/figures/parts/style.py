"""The look of every figure, and how it is written: SVG, PDF, PNG and the numbers as CSV.

Widths, fonts and colours are in plm_scaling.mplstyle. An objective has one colour and one marker
everywhere; a size or a budget has one shade in all panels of a figure.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import ListedColormap, LogNorm, to_hex
from matplotlib.figure import Figure

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic

STYLE = Path(__file__).with_name("plm_scaling.mplstyle")
OBJECTIVES = ("clm", "mlm")  # in the order of their colours
OBJECTIVE_MARKERS = {"clm": "o", "mlm": "s"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#666666"
FADED = 0.4  # opacity of a law that its runs do not identify
PALEST = 0.88  # of the colour map: what is beyond cannot be seen on white
CANVASES: dict[str, Any] = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}


@contextmanager
def style(own: Path | None = None) -> Iterator[None]:
    """The project's matplotlib settings for the block, where `own`, a style sheet, has no others.

    Raises PlmScalingError if `own` cannot be read or is no style sheet.
    """
    settings = mpl.rc_params_from_file(STYLE, use_default_template=False)
    if own is not None:
        try:
            given = mpl.rc_params_from_file(own, use_default_template=False)
        except (OSError, UnicodeDecodeError) as error:
            raise PlmScalingError(f"{own}: no matplotlib style sheet ({error})") from None
        if not given:
            raise PlmScalingError(f"{own}: sets nothing; a line is like `font.size: 8`")
        settings |= given
    with mpl.rc_context(settings):
        yield


def cycle() -> list[str]:
    """The project's colours in order, `#rrggbb`, for pages that draw by themselves."""
    with style():
        return [colour(i) for i in range(len(mpl.rcParams["axes.prop_cycle"]))]


def colour(number: int) -> str:
    """A colour of the style's cycle, from 0 on."""
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    return to_hex(cycle[number % len(cycle)])


def other_look(number: int) -> dict[str, Any]:
    """Marker and colour of what is no objective: none has an objective's colour."""
    others = len(mpl.rcParams["axes.prop_cycle"]) - len(OBJECTIVES)
    place = len(OBJECTIVES) + number % max(others, 1)
    return {"marker": MARKERS[place % len(MARKERS)], "color": colour(place)}


def objective_colour(objective: str) -> str:
    """The colour of an objective, in every figure the same; grey for none."""
    return colour(OBJECTIVES.index(objective)) if objective in OBJECTIVES else GREY


def objective_look(objective: str) -> dict[str, Any]:
    """Marker and colour of an objective."""
    return {
        "marker": OBJECTIVE_MARKERS.get(objective, "D"),
        "color": objective_colour(objective),
    }


def shades() -> ListedColormap:
    """The style's colour map without its palest end."""
    return ListedColormap(mpl.colormaps[mpl.rcParams["image.cmap"]](np.linspace(0, PALEST, 256)))


def sequential(values: Any) -> dict[float, str]:
    """A shade per distinct value, in rising order."""
    distinct = np.unique(np.asarray(values, float))
    places = np.linspace(0, 1, max(len(distinct), 2))
    return {float(v): to_hex(c) for v, c in zip(distinct, shades()(places), strict=False)}


def size_colours(n_params: np.ndarray) -> mpl.cm.ScalarMappable:
    """A continuous scale of shades for model sizes."""
    low, high = float(n_params.min()), float(n_params.max())
    return mpl.cm.ScalarMappable(LogNorm(low, high if high > low else low * 1.01), shades())


def save(figure: Figure, table: pd.DataFrame, stem: Path) -> None:
    """Write `stem`.svg, .pdf, .png and .csv in the style that holds; the same figure gives the same
    bytes."""
    no_date = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    with mpl.rc_context({"svg.hashsalt": stem.name}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not once per format
        for kind, canvas in CANVASES.items():  # `savefig` would draw everything twice
            figure.set_dpi(png_dpi())  # the others fall back to points
            with atomic(stem.with_name(f"{stem.name}.{kind}")) as temporary:
                getattr(canvas(figure), f"print_{kind}")(temporary, metadata=no_date[kind])
    with atomic(stem.with_name(f"{stem.name}.csv")) as temporary:
        table.to_csv(temporary, index=False)


def png_dpi() -> float:
    """Dots per inch of a PNG; the screen's where the style leaves it to the figure."""
    dpi = mpl.rcParams["savefig.dpi"]
    return float(mpl.rcParams["figure.dpi"] if dpi == "figure" else dpi)
