"""Figures as SVG alone, all that a page shows: a third of the time that every format takes."""

from typing import Any
from unittest import mock

from plm_scaling.figures.parts import style


def only_svg() -> Any:
    """A context, or a decorator, in which no other format is drawn."""
    return mock.patch.object(style, "CANVASES", {"svg": style.CANVASES["svg"]})
