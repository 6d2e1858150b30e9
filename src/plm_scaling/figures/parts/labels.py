"""Text beside what is drawn, where it covers nothing, and legends that fit below a figure."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

BESIDE = 4  # points from a curve to its label
GAP = 1.5  # points from a marker to its label
CHARACTER = 0.55  # mean width of a character, of the size of its font
HANDLE, COLUMN = 3.0, 2.0  # of a legend's entry before its text, and between columns, likewise
SIDES = tuple(
    (x, y) for y in (0, 1, -1, 2, -2) for x in (1, -1)
)  # right and left, then above, below
EDGE = 10  # points from a label on a curve to the end of the axes
ROOM = 30  # points around a label on a curve, beyond which more is no better
MARK = 2.5  # half of a marker's width in points
Label = tuple[float, float, str, str]  # x, y, text, colour
Box = tuple[float, float, float, float]  # left, right, bottom, top; points


def note(
    ax: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **look: Any
) -> None:
    """Small text `shift` points beside a place."""
    look = {"fontsize": mpl.rcParams["legend.fontsize"]} | look
    ax.annotate(text, at, xytext=shift, textcoords="offset points", **look)


def end_labels(ax: Axes, labels: Sequence[Label], avoid: Any = ()) -> None:
    """Text to the right of the ends of curves, moved up where it would cover another or a point,
    with a thin line to its end where that is more than a line of text.

    `avoid` are points as rows of x and y; limits and scales of the axes are final. Places are those
    before the layout, which moves them little.
    """
    size = _points(mpl.rcParams["legend.fontsize"])
    taken = _dots(ax, avoid)
    for x, y, text, colour in sorted(labels, key=lambda label: label[1]):
        wide, high = _extent(text, size)
        ((left, place),) = _in_points(ax, [(x, y)])
        left, moved = left + BESIDE, 0.0
        while _covered(_box(left, place + moved, wide, high), taken):
            moved += size / 8
        taken.append(_box(left, place + moved, wide, high))
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkA": 0, "shrinkB": MARK}
        lead: dict[str, Any] = {"arrowprops": line} if moved > size else {}
        note(ax, text, (x, y), (BESIDE, moved), color=colour, va="center", **lead)


def point_labels(
    ax: Axes,
    labels: Sequence[Label],
    avoid: Any = (),
    fontsize: Any = None,
    mark: float = MARK,
) -> None:
    """Text beside each of some points, inside the axes, on the first side where it covers no other
    text and no point; on the side where it covers least if there is none.

    `avoid` are further points, as rows of x and y; `mark` is half of a marker's width in points.
    All else is drawn and the figure is laid out (`draw_without_rendering`).
    """
    size = _points(fontsize or mpl.rcParams["legend.fontsize"])
    taken = _dots(ax, [*((x, y) for x, y, *_ in labels), *np.asarray(avoid, float).reshape(-1, 2)])
    (start, bottom), (end, top) = _corners(ax)
    for x, y, text, colour in sorted(labels):
        wide, high = _extent(text, size)
        ((left, middle),) = _in_points(ax, [(x, y)])
        tried = []
        for side, up in SIDES:
            near = mark + GAP if up == 0 else 0
            begin = left + near if side > 0 else left - near - wide
            box = _box(begin, middle + up * (high + mark), wide, high)
            out = box[0] < start or box[1] > end or box[2] < bottom or box[3] > top
            covered = sum(_covered(box, [other]) for other in taken)
            tried.append((covered + len(taken) * out, box, side, up))
        _, box, side, up = min(tried, key=lambda one: one[0])
        apart = CHARACTER * size  # two numbers side by side are not read as one
        taken.append((box[0] - apart, box[1] + apart, *box[2:]))
        look: dict[str, Any] = {"ha": "left" if side > 0 else "right", "va": "center"}
        shift = ((mark + GAP) * side * (up == 0), up * (high + mark))
        note(ax, text, (x, y), shift, color=colour, fontsize=size, **look)


def roomiest(ax: Axes, curves: Iterable[np.ndarray], avoid: Any) -> list[tuple[float, float]]:
    """For each curve (rows of x and y) its place furthest from the points `avoid` and from the
    places of the other curves, near its middle where several are as good; none of a curve
    that only touches the edge of the axes.
    """
    taken = list(_in_points(ax, avoid))
    low, high = _corners(ax)
    places = []
    for curve in curves:
        points = _in_points(ax, curve)
        inside = np.all((points > low + EDGE) & (points < high - EDGE), axis=1)
        curve, points = np.asarray(curve)[inside], points[inside]
        if not len(points):
            continue
        apart = np.linalg.norm(points[:, None] - np.asarray(taken)[None], axis=2).min(axis=1)
        apart = np.minimum(apart, ROOM)
        good = np.flatnonzero(apart > 0.9 * apart.max())
        best = int(good[np.abs(good - len(points) / 2).argmin()])
        taken.append(points[best])
        places.append((float(curve[best][0]), float(curve[best][1])))
    return places


def along(points: Any, steps: int = 20) -> np.ndarray:
    """Places along the straight lines through `points`, rows of x and y, for labels to avoid."""
    given = np.asarray(points, float).reshape(-1, 2)
    places = np.linspace(0, max(len(given) - 1, 0), steps * max(len(given) - 1, 1))
    return np.stack([np.interp(places, np.arange(len(given)), axis) for axis in given.T], axis=1)


def legend_below(figure: Figure, handles: Iterable[Artist], most: int = 5) -> None:
    """A legend below all panels, of as many columns, at most `most`, as the figure has room for;
    none without entries."""
    entries = list(handles)
    if not entries:
        return
    size = _points(mpl.rcParams["legend.fontsize"])
    longest = [HANDLE + COLUMN + CHARACTER * len(str(entry.get_label())) for entry in entries]
    columns = next(
        count
        for count in range(min(most, len(entries)), 0, -1)
        if count == 1
        or sum(max(column) for column in np.array_split(longest, count)) * size
        < 72 * figure.get_figwidth()
    )
    figure.legend(handles=entries, loc="outside lower center", ncols=columns)


def _points(fontsize: Any) -> float:
    return float(FontProperties(size=fontsize).get_size_in_points())


def _extent(text: str, size: float) -> tuple[float, float]:
    """Width and half of the height in points."""
    lines = text.split("\n")
    return CHARACTER * size * max(map(len, lines)), 0.5 * size * len(lines)


def _box(left: float, middle: float, wide: float, high: float) -> Box:
    return left, left + wide, middle - high, middle + high


def _dots(ax: Axes, places: Any) -> list[Box]:
    return [(x, x, y, y) for x, y in _in_points(ax, places)]


def _covered(box: Box, taken: Iterable[Box]) -> bool:
    left, right, low, high = box
    return any(a < right and b > left and c < high and d > low for a, b, c, d in taken)


def _corners(ax: Axes) -> np.ndarray:
    """Lower left and upper right of the axes in points of print."""
    return np.asarray(ax.get_window_extent().get_points()) * 72 / _figure(ax).dpi


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure


def _in_points(ax: Axes, places: Any) -> np.ndarray:
    """Data coordinates as points of print, (n, 2)."""
    data = np.asarray(places, float).reshape(-1, 2)
    return np.asarray(ax.transData.transform(data)) * 72 / _figure(ax).dpi
