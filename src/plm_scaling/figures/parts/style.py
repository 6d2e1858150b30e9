"""The look of every figure, and how it is written: SVG, PDF, PNG and the numbers as CSV.

Widths, fonts and colours are in plm_scaling.mplstyle. An objective has one colour and one marker
everywhere; a size or a budget has one shade in all panels of a figure.
"""

import logging
import re
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
from matplotlib.font_manager import FontProperties, findfont

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic

STYLE = Path(__file__).with_name("plm_scaling.mplstyle")
OBJECTIVES = ("clm", "mlm")  # in the order of their colours
OBJECTIVE_MARKERS = {"clm": "o", "mlm": "s"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#666666"
FADED = 0.4  # opacity of a law that its runs do not identify
PALEST = 0.88  # of the colour map: what is beyond cannot be seen on white
TEXT_SIZES = ("font.size", "fontsize", "labelsize", "titlesize")  # settings end so
CANVASES: dict[str, Any] = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}


@contextmanager
def style(own: Path | None = None) -> Iterator[None]:
    """The project's matplotlib settings for the block, where `own`, a style sheet, has no others.

    Raises PlmScalingError if `own` cannot be read, has a line that matplotlib does not take, or
    sets what the figures cannot have.
    """
    settings = mpl.rc_params_from_file(STYLE, use_default_template=False)
    if own is not None:
        settings |= _own_settings(own)
    with mpl.rc_context(settings):
        if own is not None:
            _check_settings(own)
        yield


def _own_settings(own: Path) -> mpl.RcParams:
    faults: list[str] = []

    def keep(record: logging.LogRecord) -> bool:  # matplotlib only logs what it leaves out
        faults.append(" ".join(record.getMessage().split()))
        return False

    log = logging.getLogger("matplotlib")
    log.addFilter(keep)
    try:
        given = mpl.rc_params_from_file(own, use_default_template=False)
    except (OSError, UnicodeDecodeError) as error:
        raise PlmScalingError(f"{own}: no matplotlib style sheet ({error})") from None
    finally:
        log.removeFilter(keep)
    if faults:
        fault = re.sub(r" in file .+?, line", " in line", faults[0]).split(" You probably need")[0]
        raise PlmScalingError(f"{own}: {fault}; a line is like `font.size: 8`")
    if not given:
        raise PlmScalingError(f"{own}: sets nothing; a line is like `font.size: 8`")
    return given


def _check_settings(own: Path) -> None:
    """What matplotlib takes and figures would fail of, or silently do without."""
    if min(*mpl.rcParams["figure.figsize"], mpl.rcParams["figure.dpi"], png_dpi()) <= 0:
        why = "figure.figsize, figure.dpi and savefig.dpi must be above 0"
        raise PlmScalingError(f"{own}: {why}")
    for name in (name for name in mpl.rcParams if name.endswith(TEXT_SIZES)):
        size = mpl.rcParams[name]
        if isinstance(size, float) and size < 1:  # others are names, as "small"
            raise PlmScalingError(f"{own}: {name} must be at least 1 point")
    if mpl.rcParams["image.cmap"] not in mpl.colormaps:
        raise PlmScalingError(f"{own}: image.cmap: no colour map of this name; try viridis")
    if "color" not in mpl.rcParams["axes.prop_cycle"].by_key():
        raise PlmScalingError(f"{own}: axes.prop_cycle has no colours; give it color=[…]")
    if mpl.rcParams["text.usetex"]:
        raise PlmScalingError(f"{own}: text.usetex: labels are no LaTeX; set font.family instead")
    try:
        findfont(FontProperties(), fallback_to_default=False)
    except ValueError:
        settings: Any = mpl.rcParams
        families = settings["font.family"]  # names, or kinds that have a list of names
        names = [name for f in families for name in settings.get(f"font.{f}", [f])]
        why = f"none of the fonts {', '.join(names)} is installed; add one that is, or DejaVu Sans"
        raise PlmScalingError(f"{own}: {why}") from None


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
